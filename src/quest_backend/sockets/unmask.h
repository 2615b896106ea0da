/* RFC 6455, 5.3, and RFC 8259, 7, in one pass over the bytes of a message. */
#ifndef QUEST_UNMASK_H
#define QUEST_UNMASK_H

#include <stddef.h>
#include <stdint.h>

/* As much as the widest vector registers take at once. */
#define UNMASK_BLOCK 64

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define UNMASK_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define UNMASK_CLONES
#endif

/* Whether a byte cannot stand in a JSON string as it is, or is not ASCII (negative, as signed). */
#define UNMASK_IS_SPECIAL(byte) \
    (((int8_t)(byte) < 0x20) | ((byte) == '"') | ((byte) == '\\'))

/* Write `from`, unmasked, to `to`. `mask` are the four bytes of the key, from the one that belongs
 * to the first byte on. Returns whether any byte is special. */
UNMASK_CLONES static int unmask(uint8_t *restrict to, const uint8_t *restrict from, size_t size,
                                const uint8_t mask[4])
{
    uint8_t keys[UNMASK_BLOCK], special[UNMASK_BLOCK] = {0};
    size_t at = 0;
    int any = 0;
    for (int i = 0; i < UNMASK_BLOCK; i++)
        keys[i] = mask[i % 4];
    for (; at + UNMASK_BLOCK <= size; at += UNMASK_BLOCK)
        for (int i = 0; i < UNMASK_BLOCK; i++) {
            const uint8_t byte = from[at + i] ^ keys[i];
            to[at + i] = byte;
            special[i] |= UNMASK_IS_SPECIAL(byte);
        }
    for (int i = 0; at < size; at++, i++) {
        const uint8_t byte = from[at] ^ keys[i];
        to[at] = byte;
        any |= UNMASK_IS_SPECIAL(byte);
    }
    for (int i = 0; i < UNMASK_BLOCK; i++)
        any |= special[i];
    return any;
}

#endif
