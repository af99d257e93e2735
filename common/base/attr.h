/* common/base/attr.h: small compiler helpers that every file may use. */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#include <stddef.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* 128-bit sums: exact over any number of 64-bit terms. */
__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/*
 * AUTO(kerror) e = ...; frees e on every way out of the block.
 * DEFINE_AUTO(kerror, rd_kafka_error_t *, rd_kafka_error_destroy) names the type and its release, once.
 */
#define DEFINE_AUTO(name, type, release)                                                           \
    typedef type auto_##name##_t;                                                                  \
    static inline void auto_##name##_release(type *p)                                              \
    {                                                                                              \
        if (*p)                                                                                    \
            release(*p);                                                                           \
    }                                                                                              \
    struct auto_##name##_semicolon
#define AUTO(name) __attribute__((cleanup(auto_##name##_release))) auto_##name##_t

#endif
