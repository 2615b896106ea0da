/* What the load generator and the floor share: time, WebSocket headers (RFC 6455, 5.2), numbers. */
#ifndef WIRE_H
#define WIRE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NS_PER_S 1000000000ull
#define WS_TEXT 1
#define WS_CLOSE 8
/* 2 bytes, 8 of length, 4 of mask. */
#define WS_HEADER_MAX 14
/* A stamp is the sender's CLOCK_MONOTONIC in nanoseconds, as 16 hex digits: valid base64. */
#define STAMP_CHARS 16

static inline uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static inline struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

/* Each socket is a file; 1,024 is the usual limit. */
static inline void raise_file_limit(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* Write a header for `length` payload bytes; `mask` is NULL in what a server sends.
 * Returns the header's size. */
static inline size_t ws_write_header(uint8_t *to, int opcode, uint64_t length, const uint8_t *mask)
{
    const uint8_t masked = mask ? 0x80 : 0;
    size_t size = 2;
    to[0] = (uint8_t)(0x80 | opcode);
    if (length < 126) {
        to[1] = masked | (uint8_t)length;
    } else if (length < 65536) {
        to[1] = masked | 126;
        to[2] = (uint8_t)(length >> 8);
        to[3] = (uint8_t)length;
        size = 4;
    } else {
        to[1] = masked | 127;
        for (int i = 0; i < 8; i++)
            to[2 + i] = (uint8_t)(length >> (56 - 8 * i));
        size = 10;
    }
    if (mask) {
        memcpy(to + size, mask, 4);
        size += 4;
    }
    return size;
}

struct ws_header {
    bool fin;
    int opcode;
    size_t size;
    uint64_t length;
    uint8_t mask[4];
};

/* Read a header from `have` bytes. False when it is not all there yet. */
static inline bool ws_read_header(const uint8_t *from, size_t have, struct ws_header *header)
{
    if (have < 2)
        return false;
    const bool masked = from[1] & 0x80;
    uint64_t length = from[1] & 0x7f;
    const size_t extra = length == 127 ? 8 : length == 126 ? 2 : 0;
    header->size = 2 + extra + (masked ? 4 : 0);
    if (have < header->size)
        return false;
    if (extra) {
        length = 0;
        for (size_t i = 0; i < extra; i++)
            length = length << 8 | from[2 + i];
    }
    memset(header->mask, 0, sizeof header->mask);
    if (masked)
        memcpy(header->mask, from + 2 + extra, 4);
    header->fin = from[0] & 0x80;
    header->opcode = from[0] & 0x0f;
    header->length = length;
    return true;
}

/* XOR `size` bytes with the mask, the first of them being byte `phase` of the payload. */
static inline void ws_mask(uint8_t *bytes, size_t size, const uint8_t *mask, uint64_t phase)
{
    uint8_t key[8];
    uint64_t key8;
    for (int i = 0; i < 8; i++)
        key[i] = mask[(phase + (uint64_t)i) % 4];
    memcpy(&key8, key, 8);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        word ^= key8;
        memcpy(bytes + i, &word, 8);
    }
    for (; i < size; i++)
        bytes[i] ^= key[i % 8];
}

static inline void write_stamp(char *to, uint64_t at_ns)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = STAMP_CHARS - 1; i >= 0; i--, at_ns >>= 4)
        to[i] = digits[at_ns & 15];
}

/* The stamp at `from`, or 0 when there is none. */
static inline uint64_t read_stamp(const char *from)
{
    uint64_t at_ns = 0;
    for (int i = 0; i < STAMP_CHARS; i++) {
        const char c = from[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return 0;
        at_ns = at_ns << 4 | (uint64_t)digit;
    }
    return at_ns;
}

#endif
