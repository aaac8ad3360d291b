/* ARP (RFC 826), ICMP echo (RFC 792) and UDP echo (RFC 862) over IPv4 (RFC 791, RFC 1122): one frame in, at most one out. */
#ifndef ECHO_H
#define ECHO_H

#include <stdint.h>

#define ECHO_IP (10u << 24 | 2) /* 10.0.0.2, unless an option says otherwise */

/* What became of a frame; each has exactly one. */
enum verdict {
    ANSWERED_ARP,
    ANSWERED_ICMP,
    ANSWERED_UDP,
    NOT_FOR_US, /* another address */
    NOT_SERVED, /* another protocol, port, kind of message; a fragment */
    DAMAGED,    /* a length or checksum that cannot be */
    VERDICTS
};

enum command { NO_COMMAND, STATISTICS, EXIT };

struct echo_result {
    enum verdict verdict;
    uint32_t length;      /* of the answer, when there is one */
    enum command command; /* what the text of an UDP datagram asks for besides its echo */
};

/* `ip` as a number, first byte highest. */
void echo_start(const uint8_t address[6], uint32_t ip);

/* A frame has at least a header, of 14 bytes, and at most 65,535 bytes; `answer` has room for as much. */
struct echo_result echo_frame(const uint8_t *frame, uint32_t length, uint8_t *answer);

/* The line that says what became of all frames. */
void echo_print_frames(uint32_t frames, uint32_t bytes, const uint32_t verdicts[VERDICTS]);

#endif
