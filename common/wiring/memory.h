/* common/wiring/memory.h */
/*
 * memory: what a stage's `memory` is for.
 *
 * Shape    a fifth of all, and 32 MiB, for the program, its libraries and what the allocator cannot give back; 4 MiB for what is fetched; a
 *          quarter of the rest each, up to 64 MiB, for what is to be sent, and for batches and the outputs of a commit; an eighth, up to
 *          64 MiB, for records that are held back; what is left is for state. The last two in equal parts for the tasks of the process.
 * Units    bytes.
 */
#ifndef WIRING_MEMORY_H
#define WIRING_MEMORY_H

#include <stddef.h>

#define MEMORY_MIB ((size_t)1 << 20)
#define MEMORY_BYTES ((size_t)4 << 30) /* where a stage says nothing */
#define MEMORY_BYTES_MIN (96 * MEMORY_MIB)
#define MEMORY_BYTES_MAX ((size_t)1 << 40)

struct memory {
    size_t all, fetch, producer, batches, held, state;
};

struct memory memory_split(size_t bytes);

#endif
