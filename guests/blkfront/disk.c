/*
 * The disk workload. Layout on the disk: sector 0 is the superblock, sectors 1 to N hold a pattern that follows from the seed and the
 * sector's number, so that any sector can be checked by itself. The superblock is written last, after a flush: it vouches for the rest.
 */
#include "../lib/console.h"
#include "../lib/crc32.h"
#include "../lib/domain.h"
#include "../lib/events.h"
#include "../lib/options.h"
#include "../lib/text.h"
#include "../lib/xenstore.h"
#include "blkfront.h"
#include "disk.h"

#define DEFAULT_SECTORS 1024u
#define SECTORS_MAX 32768u /* sizes the tables of checksums */
#define DEFAULT_SEED 1u
#define TRIES_MAX 8 /* a request that fails this often is given up: an injected fault passes, a broken disk does not */
#define DISCARD_SECTORS 64u
#define SUPERBLOCK_MAGIC 0x4c463142 /* "B1FL" */

struct superblock {
    uint32_t magic, seed, sectors, checksum;
    uint8_t unused[SECTOR_BYTES - 16];
};

struct transfer {
    uint32_t requests, errors;
    uint64_t start_ns;
};

static struct vbd vbd;
static uint32_t checksums[SECTORS_MAX];

static uint32_t next_random(uint32_t *state)
{
    uint32_t x = *state; /* Marsaglia's xorshift32; the state is never 0 */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static uint32_t pattern_start(uint32_t seed, uint32_t sector)
{
    uint32_t state = (seed * 2654435761u) ^ (sector * 2246822519u);
    return state != 0 ? state : 1;
}

static void fill_pattern(uint8_t *to, uint32_t seed, uint32_t sector)
{
    uint32_t *words = (uint32_t *)to, state = pattern_start(seed, sector);
    words[0] = sector;
    for (uint32_t i = 1; i < SECTOR_BYTES / 4; i++)
        words[i] = next_random(&state);
}

static void check_pattern(const uint8_t *from, uint32_t seed, uint32_t sector)
{
    const uint32_t *words = (const uint32_t *)from;
    uint32_t state = pattern_start(seed, sector), wanted = sector;
    for (uint32_t i = 0; i < SECTOR_BYTES / 4; i++) {
        if (words[i] != wanted)
            panic("%s: sector %u, byte %u: read %08x, wrote %08x", vbd.name, sector, i * 4, words[i], wanted);
        wanted = next_random(&state);
    }
}

/*
 * True when there is no more to be done for the slot's request; sends it again when it failed and may be tried again. A back end may offer
 * flush or discard and still find that its disk cannot (blkif.h, feature-flush-cache and feature-discard): then we stop asking.
 */
static bool settle(struct vbd_slot *slot, struct transfer *done)
{
    if (slot->status == BLKIF_RSP_OKAY)
        return true;
    bool *optional = slot->operation == BLKIF_OP_FLUSH_DISKCACHE ? &vbd.can_flush
                     : slot->operation == BLKIF_OP_DISCARD       ? &vbd.can_discard
                                                                 : NULL;
    if (slot->status == BLKIF_RSP_EOPNOTSUPP && optional != NULL) {
        *optional = false;
        return true;
    }
    if (slot->status != BLKIF_RSP_ERROR || slot->tries >= TRIES_MAX)
        panic("%s: operation %u at sector %u failed with status %d after %u tries", vbd.name, slot->operation, (uint32_t)slot->sector,
              slot->status, slot->tries);
    done->errors++;
    vbd_send(&vbd, slot);
    vbd_push(&vbd);
    return false;
}

/*
 * Reads or writes sectors first to first + count - 1 in requests of every size and alignment, as many in flight as the ring holds.
 * With a pattern, what is written follows it and what is read is checked against it. Each sector's CRC goes into checksums[].
 */
static struct transfer transfer(uint8_t operation, uint32_t first, uint32_t count, bool patterned, uint32_t seed)
{
    struct transfer done = { 0, 0, system_time_ns() };
    uint32_t next = 0, outstanding = 0, shape = pattern_start(seed, operation);
    vbd.most_in_flight = 0;
    while (next < count || outstanding > 0) {
        struct vbd_slot *slot;
        while (next < count && (slot = vbd_take(&vbd)) != NULL) {
            uint32_t offset = next_random(&shape) % SECTORS_PER_PAGE;
            uint32_t sectors = 1 + next_random(&shape) % (vbd.request_sectors - offset) / (vbd.features.indirect ? 1 : 4);
            if (sectors > count - next)
                sectors = count - next;
            slot->operation = operation;
            slot->sector = first + next;
            slot->sectors = sectors;
            slot->offset = offset * SECTOR_BYTES;
            if (operation == BLKIF_OP_WRITE)
                for (uint32_t i = 0; i < sectors; i++) {
                    uint8_t *data = vbd_data(&vbd, slot) + i * SECTOR_BYTES;
                    fill_pattern(data, seed, first + next + i);
                    checksums[next + i] = crc32(0, data, SECTOR_BYTES);
                }
            vbd_send(&vbd, slot);
            next += sectors;
            outstanding++;
            done.requests++;
        }
        vbd_push(&vbd);
        slot = vbd_wait(&vbd);
        if (slot == NULL)
            return done;
        if (!settle(slot, &done))
            continue;
        if (operation == BLKIF_OP_READ)
            for (uint32_t i = 0; i < slot->sectors; i++) {
                const uint8_t *data = vbd_data(&vbd, slot) + i * SECTOR_BYTES;
                uint32_t sector = (uint32_t)slot->sector + i;
                if (patterned)
                    check_pattern(data, seed, sector);
                checksums[sector - first] = crc32(0, data, SECTOR_BYTES);
            }
        vbd_release(&vbd, slot);
        outstanding--;
    }
    return done;
}

/* One request by itself; with `data` its one sector is copied from there (write) or to there (read). The number of errors survived. */
static uint32_t single(uint8_t operation, uint32_t sector, uint32_t sectors, void *data)
{
    struct transfer done = { 0, 0, 0 };
    if (vbd.shut != NULL)
        return 0;
    struct vbd_slot *slot = vbd_take(&vbd);
    slot->operation = operation;
    slot->sector = sector;
    slot->sectors = sectors;
    if (operation == BLKIF_OP_WRITE)
        memcpy(vbd_data(&vbd, slot), data, SECTOR_BYTES);
    vbd_send(&vbd, slot);
    vbd_push(&vbd);
    do {
        slot = vbd_wait(&vbd);
        if (slot == NULL)
            return done.errors;
    } while (!settle(slot, &done));
    if (operation == BLKIF_OP_READ)
        memcpy(data, vbd_data(&vbd, slot), SECTOR_BYTES);
    vbd_release(&vbd, slot);
    return done.errors;
}

static void report(const char *what, uint32_t sectors, const struct transfer *done)
{
    uint32_t rest_ns, ms = (uint32_t)divide64(system_time_ns() - done->start_ns, 1000000, &rest_ns);
    print("%s: %s %u sectors in %u requests, most in flight %u, in %u.%03u ms\n", vbd.name, what, sectors, done->requests,
          vbd.most_in_flight, ms, rest_ns / 1000);
}

static uint32_t flush(void)
{
    return vbd.can_flush ? single(BLKIF_OP_FLUSH_DISKCACHE, 0, 0, NULL) : 0;
}

static void exercise_writable(uint32_t sectors, uint32_t seed)
{
    print("%s: formatting with seed %u\n", vbd.name, seed);
    struct transfer written = transfer(BLKIF_OP_WRITE, 1, sectors, true, seed);
    if (vbd.shut != NULL)
        return;
    report("wrote", sectors, &written);
    struct superblock super = { SUPERBLOCK_MAGIC, seed, sectors, crc32(0, checksums, sectors * sizeof checksums[0]), { 0 } }, found;
    uint32_t errors = written.errors + flush();
    errors += single(BLKIF_OP_WRITE, 0, 1, &super);
    errors += flush();
    if (vbd.shut != NULL)
        return;
    print("%s: superblock written%s\n", vbd.name, vbd.can_flush ? " between two flushes" : "");
    uint32_t free_sectors = vbd.sectors - 1 - sectors;
    if (vbd.can_discard && free_sectors > 0) {
        uint32_t count = free_sectors < DISCARD_SECTORS ? free_sectors : DISCARD_SECTORS;
        errors += single(BLKIF_OP_DISCARD, 1 + sectors, count, NULL);
        print("%s: %u free sectors %s\n", vbd.name, count, vbd.can_discard ? "discarded" : "could not be discarded");
    }

    errors += single(BLKIF_OP_READ, 0, 1, &found);
    if (vbd.shut != NULL)
        return;
    if (memcmp(&found, &super, sizeof super) != 0)
        panic("%s: the superblock read is not the one written", vbd.name);
    memset(checksums, 0, sizeof checksums);
    struct transfer read = transfer(BLKIF_OP_READ, 1, found.sectors, true, found.seed);
    if (vbd.shut != NULL)
        return;
    report("read", found.sectors, &read);
    errors += read.errors;
    uint32_t checksum = crc32(0, checksums, found.sectors * sizeof checksums[0]);
    if (checksum != found.checksum)
        panic("%s: crc32 %08x, the superblock says %08x", vbd.name, checksum, found.checksum);
    if (errors > 0)
        print("%s: survived %u disk errors\n", vbd.name, errors);
    print("%s: verified: crc32 %08x\n", vbd.name, checksum);
}

static void exercise_read_only(uint32_t sectors)
{
    struct transfer read = transfer(BLKIF_OP_READ, 0, sectors, false, DEFAULT_SEED);
    if (vbd.shut != NULL)
        return;
    report("read", sectors, &read);
    if (read.errors > 0)
        print("%s: survived %u disk errors\n", vbd.name, read.errors);
    print("%s: crc32 %08x\n", vbd.name, crc32(0, checksums, sectors * sizeof checksums[0]));
}

uint32_t find_disks(uint32_t *handles)
{
    char names[256];
    uint32_t count = 0;
    int32_t length = xs_directory("device/vbd", names, sizeof names);
    for (const char *name = names; length > 0 && name < names + length && count < DISKS_MAX; name += strlen(name) + 1) {
        const char *at = name;
        if (parse_u32(&at, &handles[count]) && *at == 0)
            count++;
    }
    return count;
}

/* The words behind features=, between commas. */
static struct vbd_features features_option(void)
{
    struct vbd_features wanted = { false, false, 0 };
    const char *at = option_text("features");
    while (at != NULL && !option_ends(at)) {
        if (text_starts_with(at, "persistent")) {
            wanted.persistent = true;
            at += strlen("persistent");
        } else if (text_starts_with(at, "indirect")) {
            wanted.indirect = true;
            at += strlen("indirect");
        } else if (text_starts_with(at, "ring-order=")) {
            at += strlen("ring-order=");
            if (!parse_u32(&at, &wanted.ring_order) || wanted.ring_order > VBD_RING_ORDER_MAX)
                panic("ring-order= must be 0 to %u", VBD_RING_ORDER_MAX);
        } else {
            panic("features= takes persistent, indirect and ring-order=N");
        }
        if (*at == ',')
            at++;
        else if (!option_ends(at))
            panic("features= takes persistent, indirect and ring-order=N, with commas between them");
    }
    return wanted;
}

void disk_mode(void)
{
    uint32_t handles[DISKS_MAX], disks = find_disks(handles);
    uint32_t wanted = number_option("sectors", DEFAULT_SECTORS), seed = number_option("seed", DEFAULT_SEED);
    struct vbd_features features = features_option();
    crc32_prepare();
    if (disks == 0)
        print("no disks\n");
    for (uint32_t i = 0; i < disks; i++) {
        if (!vbd_connect(&vbd, handles[i], features))
            continue;
        uint32_t room = vbd.read_only ? vbd.sectors : vbd.sectors - 1, sectors = wanted < SECTORS_MAX ? wanted : SECTORS_MAX;
        if (sectors > room)
            sectors = room;
        if (vbd.sectors < 2)
            print("%s: too small to be used\n", vbd.name);
        else if (vbd.read_only)
            exercise_read_only(sectors);
        else
            exercise_writable(sectors, seed);
        vbd_disconnect(&vbd);
    }
}
