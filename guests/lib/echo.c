#include "echo.h"

#include <stdbool.h>

#include "console.h"
#include "text.h"

#define ETHERNET_HEADER 14u
#define TYPE_IP 0x0800
#define TYPE_ARP 0x0806

#define ARP_BYTES 28u
#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

#define IP_HEADER 20u
#define IP_MORE_OR_OFFSET 0x3fff /* the flag and the offset that only fragments have */
#define TIME_TO_LIVE 64
#define PROTOCOL_ICMP 1
#define PROTOCOL_UDP 17

#define ICMP_HEADER 8u
#define ICMP_ECHO 8
#define ICMP_ECHO_REPLY 0

#define UDP_HEADER 8u
#define PORT_ECHO 7

static uint8_t our_address[6];
static uint32_t our_ip;
static uint16_t identification;

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) << 16 | get16(at + 2);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value);
}

/*
 * RFC 1071: the sum of 16-bit words, of at most 64 KiB. The order of bytes does not matter until the end (2.B), nor how many words are added at
 * once (2.C).
 */
static uint32_t sum(uint32_t before, const uint8_t *bytes, uint32_t count)
{
    uint64_t total = 0;
    const uint32_t *words = (const uint32_t *)bytes;
    for (; count >= 4; count -= 4)
        total += *words++;
    uint32_t last = 0;
    memcpy(&last, words, count);
    total += last;
    total = (total & 0xffff) + (total >> 16 & 0xffff) + (total >> 32);
    uint32_t folded = (uint32_t)total;
    while (folded > 0xffff)
        folded = (folded >> 16) + (folded & 0xffff);
    return before + (folded >> 8) + (folded << 8 & 0xff00);
}

static uint32_t checksum(uint32_t total)
{
    while (total > 0xffff)
        total = (total >> 16) + (total & 0xffff);
    return ~total & 0xffff;
}

static uint32_t pseudo_header_sum(const uint8_t *addresses, uint32_t length)
{
    return sum(PROTOCOL_UDP + length, addresses, 8);
}

static struct echo_result unanswered(enum verdict verdict)
{
    return (struct echo_result){ .verdict = verdict };
}

static void address_answer(uint8_t *answer, const uint8_t *frame)
{
    memcpy(answer, frame + 6, 6);
    memcpy(answer + 6, our_address, 6);
    memcpy(answer + 12, frame + 12, 2);
}

static struct echo_result arp(const uint8_t *frame, uint32_t length, uint8_t *answer)
{
    const uint8_t *in = frame + ETHERNET_HEADER;
    uint8_t *out = answer + ETHERNET_HEADER;
    if (length < ETHERNET_HEADER + ARP_BYTES)
        return unanswered(DAMAGED);
    if (get16(in) != ARP_ETHERNET || get16(in + 2) != TYPE_IP || in[4] != 6 || in[5] != 4 || get16(in + 6) != ARP_REQUEST)
        return unanswered(NOT_SERVED);
    if (get32(in + 24) != our_ip)
        return unanswered(NOT_FOR_US);
    address_answer(answer, frame);
    memcpy(out, in, 6);
    put16(out + 6, ARP_REPLY);
    memcpy(out + 8, our_address, 6);
    put32(out + 14, our_ip);
    memcpy(out + 18, in + 8, 10); /* the sender is the target */
    return (struct echo_result){ ANSWERED_ARP, ETHERNET_HEADER + ARP_BYTES, NO_COMMAND };
}

/* The header of an answer to `ip`, without options, with `length` bytes behind it. */
static void ip_answer(uint8_t *out, const uint8_t *ip, uint32_t length)
{
    put16(out, 0x4500);
    put16(out + 2, IP_HEADER + length);
    put16(out + 4, identification++);
    put16(out + 6, 0);
    out[8] = TIME_TO_LIVE;
    out[9] = ip[9];
    put16(out + 10, 0);
    put32(out + 12, our_ip);
    memcpy(out + 16, ip + 12, 4);
    put16(out + 10, checksum(sum(0, out, IP_HEADER)));
}

static struct echo_result icmp(const uint8_t *ip, const uint8_t *in, uint32_t length, uint8_t *out)
{
    if (length < ICMP_HEADER || checksum(sum(0, in, length)) != 0)
        return unanswered(DAMAGED);
    if (in[0] != ICMP_ECHO || in[1] != 0)
        return unanswered(NOT_SERVED);
    ip_answer(out, ip, length);
    out += IP_HEADER;
    memcpy(out, in, length);
    out[0] = ICMP_ECHO_REPLY;
    put16(out + 2, 0);
    put16(out + 2, checksum(sum(0, out, length)));
    return (struct echo_result){ ANSWERED_ICMP, ETHERNET_HEADER + IP_HEADER + length, NO_COMMAND };
}

/* Is the text this word, with or without an end of line? */
static bool says(const uint8_t *text, uint32_t length, const char *word)
{
    uint32_t letters = strlen(word);
    return (length == letters || (length == letters + 1 && text[letters] == '\n')) && memcmp(text, word, letters) == 0;
}

static struct echo_result udp(const uint8_t *ip, const uint8_t *in, uint32_t room, uint8_t *out)
{
    uint32_t length = room < UDP_HEADER ? 0 : get16(in + 4);
    if (length < UDP_HEADER || length > room)
        return unanswered(DAMAGED);
    if (get16(in + 6) != 0 && checksum(sum(pseudo_header_sum(ip + 12, length), in, length)) != 0)
        return unanswered(DAMAGED);
    if (get16(in + 2) != PORT_ECHO || get16(in) == PORT_ECHO) /* two echo servers would never end */
        return unanswered(NOT_SERVED);
    ip_answer(out, ip, length);
    uint8_t *addresses = out + 12;
    out += IP_HEADER;
    memcpy(out, in + 2, 2);
    memcpy(out + 2, in, 2);
    put16(out + 4, length);
    put16(out + 6, 0);
    memcpy(out + UDP_HEADER, in + UDP_HEADER, length - UDP_HEADER);
    uint32_t check = checksum(sum(pseudo_header_sum(addresses, length), out, length));
    put16(out + 6, check != 0 ? check : 0xffff); /* RFC 768: 0 means none */
    enum command command = says(in + UDP_HEADER, length - UDP_HEADER, "stats")  ? STATISTICS
                           : says(in + UDP_HEADER, length - UDP_HEADER, "exit") ? EXIT
                                                                                : NO_COMMAND;
    return (struct echo_result){ ANSWERED_UDP, ETHERNET_HEADER + IP_HEADER + length, command };
}

/* RFC 1122, 3.2.1.3: what a sender cannot be: nobody, a group, everybody; nor we ourselves. */
static bool is_sender(uint32_t ip)
{
    return ip >> 24 != 0 && ip >> 28 < 14 && ip != our_ip;
}

static struct echo_result internet(const uint8_t *frame, uint32_t length, uint8_t *answer)
{
    const uint8_t *ip = frame + ETHERNET_HEADER;
    if (memcmp(frame, our_address, 6) != 0)
        return unanswered(NOT_FOR_US); /* RFC 1122, 3.3.6: a broadcast of the link is not for one host */
    length -= ETHERNET_HEADER;
    uint32_t header = (ip[0] & 15u) * 4, total = get16(ip + 2);
    if (ip[0] >> 4 != 4 || header < IP_HEADER || header > total || total > length || checksum(sum(0, ip, header)) != 0)
        return unanswered(DAMAGED);
    if (get32(ip + 16) != our_ip)
        return unanswered(NOT_FOR_US);
    if ((get16(ip + 6) & IP_MORE_OR_OFFSET) != 0 || !is_sender(get32(ip + 12)))
        return unanswered(NOT_SERVED);
    address_answer(answer, frame);
    switch (ip[9]) {
    case PROTOCOL_ICMP:
        return icmp(ip, ip + header, total - header, answer + ETHERNET_HEADER);
    case PROTOCOL_UDP:
        return udp(ip, ip + header, total - header, answer + ETHERNET_HEADER);
    default:
        return unanswered(NOT_SERVED);
    }
}

void echo_start(const uint8_t address[6], uint32_t ip)
{
    memcpy(our_address, address, 6);
    our_ip = ip;
}

struct echo_result echo_frame(const uint8_t *frame, uint32_t length, uint8_t *answer)
{
    switch (get16(frame + 12)) {
    case TYPE_ARP:
        return arp(frame, length, answer);
    case TYPE_IP:
        return internet(frame, length, answer);
    default:
        return unanswered(NOT_SERVED);
    }
}

void echo_print_frames(uint32_t frames, uint32_t bytes, const uint32_t verdicts[VERDICTS])
{
    print("frames in: %u (%u bytes) = %u arp + %u icmp + %u udp + %u not for us + %u not served + %u damaged\n", frames, bytes,
          verdicts[ANSWERED_ARP], verdicts[ANSWERED_ICMP], verdicts[ANSWERED_UDP], verdicts[NOT_FOR_US], verdicts[NOT_SERVED],
          verdicts[DAMAGED]);
}
