#include "wiring/memory.h"

#define FETCH (4 * MEMORY_MIB)
#define OTHERS_MAX (64 * MEMORY_MIB)

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

struct memory memory_split(size_t bytes)
{
    size_t rest = bytes - bytes / 5 - 32 * MEMORY_MIB - FETCH, others = least(rest / 4, OTHERS_MAX);
    size_t held = least(rest / 8, OTHERS_MAX);

    return (struct memory){.all = bytes, .fetch = FETCH, .producer = others, .batches = others, .held = held,
                           .state = rest - 2 * others - held};
}
