/* common/feature/zone.h */
/*
 * zone: offsets from UTC by the rules of a named time zone, from the machine's zone data.
 *
 * Shape    the transitions of a TZif file (RFC 8536), and those that its footer's rule gives for 400 years more; the
 *          calendar repeats after that, so later instants are looked up 400 years earlier. Before the first transition: its first type.
 * Data     $TZDIR, or /usr/share/zoneinfo. Its version ("2025b": the first line of tzdata.zi, or +VERSION) is part of a
 *          feature set: other rules, other numbers.
 * Errors   ERR_FATAL: an unknown zone with the nearest name; a file that is none. No byte of a file is trusted.
 * Owner    the arena.
 * Threads  immutable once loaded.
 */
#ifndef FEATURE_ZONE_H
#define FEATURE_ZONE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/err.h"

struct zone;

/* Seconds of UTC [from, to) and what local time is ahead by there. Begin with {0}. */
struct zone_span {
    int64_t from, to;
    int32_t offset;
};

enum status zone_load(const char *name, struct arena *arena, const struct zone **ret_zone, struct error *err);
/* The text lives in the arena. */
enum status zone_version(struct arena *arena, const char **ret_version, struct error *err);
/* A file's bytes. */
enum status zone_parse(struct view file, struct arena *arena, const struct zone **ret_zone, struct error *err);
/* The span that holds s. */
struct zone_span zone_find(const struct zone *z, int64_t s);

#endif
