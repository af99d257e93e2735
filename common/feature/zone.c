/*
 * TZif: "TZif", version, 15 bytes; six counts of 4 bytes (UT and standard indicators, leap seconds, transitions, types, characters);
 * then the transitions' times, their types (a byte each), the types (offset 4, summer 1, name 1), characters, leap seconds, indicators.
 * From version 2 on that comes twice, the second time with times of 8 bytes, and a footer: a rule between two line feeds.
 */
#include "feature/zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/calendar.h"
#include "feature/expr.h"
#include "feature/zone_rule.h"

#define FILE_BYTES_MAX (256 * 1024)
#define NAMES_BYTES_MAX (1024 * 1024) /* tzdata.zi */
#define HEADER_BYTES 44
#define TRANSITIONS_MAX 10000
#define CYCLE_YEARS 400
#define CYCLE_S (INT64_C(146097) * 86400)
#define S_MAX (INT64_C(1) << 55) /* a thousand million years */
#define OFFSET_S_MAX (26 * 3600) /* RFC 8536, 3.2 */

struct transition {
    int64_t s;
    int32_t offset; /* from then on */
};

struct zone {
    struct transition *transitions; /* [0] is since ever */
    size_t n;
    int64_t cycle_from; /* the years from here repeat */
    bool cycles, is_rule; /* nothing but a rule: it holds backwards too */
};

struct header {
    uint8_t version;
    size_t n_ut, n_std, n_leap, n_times, n_types, n_chars;
};

static int64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

static bool take_header(struct view *t, struct header *ret)
{
    size_t *counts[] = {&ret->n_ut, &ret->n_std, &ret->n_leap, &ret->n_times, &ret->n_types, &ret->n_chars};

    if (t->n < HEADER_BYTES || memcmp(t->data, "TZif", 4) != 0)
        return false;
    ret->version = t->data[4];
    for (size_t i = 0; i < 6; i++) {
        int64_t n = big_endian(t->data + 20 + 4 * i, 4);

        if (n < 0 || n > TRANSITIONS_MAX)
            return false;
        *counts[i] = (size_t)n;
    }
    *t = view_of(t->data + HEADER_BYTES, t->n - HEADER_BYTES);
    return true;
}

static size_t body_bytes(const struct header *h, size_t time_bytes)
{
    return h->n_times * (time_bytes + 1) + h->n_types * 6 + h->n_chars + h->n_leap * (time_bytes + 4) + h->n_std + h->n_ut;
}

/* NULL, or what is wrong. There is room for one transition more than the body has. */
static const char *read_body(struct view t, const struct header *h, size_t time_bytes, struct zone *z)
{
    const uint8_t *times = t.data, *kinds = times + h->n_times * time_bytes, *types = kinds + h->n_times;

    if (h->n_leap != 0)
        return "it counts leap seconds";
    if (h->n_types == 0 || h->n_types > 256)
        return "it has no types of local time";
    for (size_t i = 0; i < h->n_types; i++) {
        int64_t offset = big_endian(types + 6 * i, 4);

        if (offset < -OFFSET_S_MAX || offset > OFFSET_S_MAX)
            return "an offset is more than 26 hours";
    }
    z->transitions[0] = (struct transition){INT64_MIN, (int32_t)big_endian(types, 4)};
    z->n = 1;
    for (size_t i = 0; i < h->n_times; i++) {
        int64_t s = big_endian(times + time_bytes * i, time_bytes);

        if (kinds[i] >= h->n_types)
            return "a transition has no type";
        if (s <= z->transitions[z->n - 1].s || s > S_MAX)
            return "its transitions are out of order or range";
        z->transitions[z->n++] = (struct transition){s, (int32_t)big_endian(types + 6 * kinds[i], 4)};
    }
    return NULL;
}

static int64_t year_of(int64_t s)
{
    return calendar_date(floor_div(s, 86400)).year;
}

/* What the rule gives after the last transition, for a year more than a cycle. */
static void add_rule(struct zone *z, const struct zone_rule *r)
{
    bool none = z->n == 1;
    int64_t last = z->transitions[z->n - 1].s, year = none ? 1970 : year_of(last);

    if (!r->has_summer) {
        if (none)
            z->transitions[0].offset = r->standard;
        return;
    }
    z->cycles = true;
    z->is_rule = none;
    z->cycle_from = calendar_days(year + 2, 1, 1) * 86400;
    for (int64_t y = year - 1; y <= year + CYCLE_YEARS + 2; y++) {
        struct transition two[2] = {{.offset = r->summer}, {.offset = r->standard}};

        zone_rule_year(r, y, &two[0].s, &two[1].s);
        for (size_t i = 0; i < 2; i++) {
            struct transition t = two[(two[0].s > two[1].s) != (i == 1)];

            if (t.s > last || none)
                z->transitions[z->n++] = t;
        }
    }
}

enum status zone_parse(struct view file, struct arena *arena, const struct zone **ret_zone, struct error *err)
{
    struct header h;
    struct view t = file;
    struct zone *z = arena_zalloc(arena, sizeof(*z));
    struct zone_rule rule;
    const char *wrong;
    size_t time_bytes = 4;

    if (!take_header(&t, &h))
        return err_set(err, ERR_FATAL, "it is no TZif file");
    if (h.version >= '2' && body_bytes(&h, 4) <= t.n) {
        t = view_of(t.data + body_bytes(&h, 4), t.n - body_bytes(&h, 4));
        time_bytes = 8;
        if (!take_header(&t, &h))
            return err_set(err, ERR_FATAL, "its second part is missing");
    }
    if (body_bytes(&h, time_bytes) > t.n)
        return err_set(err, ERR_FATAL, "it is cut off");
    z->transitions = arena_alloc(arena, (h.n_times + 1 + 2 * (CYCLE_YEARS + 4)) * sizeof(*z->transitions));
    if ((wrong = read_body(t, &h, time_bytes, z)) != NULL)
        return err_set(err, ERR_FATAL, "%s", wrong);
    t = view_of(t.data + body_bytes(&h, time_bytes), t.n - body_bytes(&h, time_bytes));
    if (time_bytes == 8) {
        if (t.n < 2 || t.data[0] != '\n' || t.data[t.n - 1] != '\n')
            return err_set(err, ERR_FATAL, "its footer is missing");
        if (t.n > 2 && !zone_rule_parse(view_of(t.data + 1, t.n - 2), &rule))
            return err_set(err, ERR_FATAL, "its footer is no rule");
        if (t.n > 2)
            add_rule(z, &rule);
    }
    *ret_zone = z;
    return OK;
}

struct zone_span zone_find(const struct zone *z, int64_t s)
{
    bool moved = z->cycles && (s >= z->cycle_from + CYCLE_S || (z->is_rule && s < z->cycle_from));
    size_t lo = 0, hi = z->n;

    if (moved)
        s -= floor_div(s - z->cycle_from, CYCLE_S) * CYCLE_S;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;

        if (z->transitions[mid].s <= s)
            lo = mid;
        else
            hi = mid;
    }
    if (moved) /* of another 400 years: not to be kept */
        return (struct zone_span){0, 0, z->transitions[lo].offset};
    return (struct zone_span){z->transitions[lo].s, hi < z->n ? z->transitions[hi].s : INT64_MAX, z->transitions[lo].offset};
}

/* ---- the machine's zone data ---- */
static const char *folder(void)
{
    const char *dir = getenv("TZDIR");

    return dir && *dir ? dir : "/usr/share/zoneinfo";
}

static bool read_file(const char *name, size_t bytes_max, struct arena *arena, struct view *ret)
{
    FILE *f = fopen(arena_printf(arena, "%s/%s", folder(), name), "rb");
    uint8_t *bytes;
    size_t n;

    if (f == NULL)
        return false;
    bytes = arena_alloc(arena, bytes_max + 1);
    n = fread(bytes, 1, bytes_max + 1, f);
    fclose(f);
    *ret = view_of(bytes, n);
    return n <= bytes_max;
}

static bool take_line(struct view *t, struct view *ret)
{
    const uint8_t *end = t->n ? memchr(t->data, '\n', t->n) : NULL;
    size_t n = end ? (size_t)(end - t->data) : t->n;

    if (t->n == 0)
        return false;
    *ret = view_of(t->data, n);
    n += end != NULL;
    *t = view_of(t->data + n, t->n - n);
    return true;
}

enum status zone_version(struct arena *arena, const char **ret_version, struct error *err)
{
    static const char head[] = "# version ";
    struct view t, line;
    size_t skip = strlen(head);

    if (!read_file("tzdata.zi", NAMES_BYTES_MAX, arena, &t) || !take_line(&t, &line) || line.n <= skip ||
        memcmp(line.data, head, skip) != 0) {
        skip = 0;
        if (!read_file("+VERSION", 4096, arena, &t) || !take_line(&t, &line) || line.n == 0)
            return err_set(err, ERR_FATAL, "the zone data in %s says no version, in neither tzdata.zi nor +VERSION; install tzdata, or set TZDIR",
                           folder());
    }
    *ret_version = arena_printf(arena, "%.*s", (int)(line.n - skip < 40 ? line.n - skip : 40), (const char *)line.data + skip);
    return OK;
}

/* "Berlin" means Europe/Berlin as well. */
static bool ends_in(const char *zone, const char *name)
{
    const char *slash = strrchr(zone, '/');

    return slash && strcmp(slash + 1, name) == 0;
}

/* Names stand in the lines "Z <name> ..." and "L <target> <name>" of tzdata.zi. */
static const char *nearest(const char *name, struct arena *arena)
{
    struct view t, line;
    struct feature_col *names = arena_alloc(arena, 2000 * sizeof(*names));
    size_t n = 0;

    if (!read_file("tzdata.zi", NAMES_BYTES_MAX, arena, &t))
        return NULL;
    while (n < 2000 && take_line(&t, &line)) {
        char *text = arena_printf(arena, "%.*s", (int)line.n, (const char *)line.data), *rest;
        char *kind = strtok_r(text, " ", &rest), *first = kind ? strtok_r(NULL, " ", &rest) : NULL;
        char *found = first && strcmp(kind, "Z") == 0 ? first : first && strcmp(kind, "L") == 0 ? strtok_r(NULL, " ", &rest) : NULL;

        if (found && ends_in(found, name))
            return found;
        if (found)
            names[n++] = (struct feature_col){.name = found};
    }
    return expr_nearest(name, names, n);
}

static bool is_name(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < n; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9') ||
              strchr("_+-/", name[i])))
            return false;
    return n > 0 && n < 64 && name[0] != '/';
}

enum status zone_load(const char *name, struct arena *arena, const struct zone **ret_zone, struct error *err)
{
    struct arena scratch = ARENA_EMPTY;
    struct view file;
    enum status st;

    if (!is_name(name) || !read_file(name, FILE_BYTES_MAX, &scratch, &file) || file.n == 0) {
        const char *near = nearest(name, &scratch);

        st = err_set(err, ERR_FATAL, "no time zone '%.64s' in %s%s%s%s", name, folder(), near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
    } else {
        st = zone_parse(file, arena, ret_zone, err);
        if (st != OK)
            err_wrap(err, "time zone '%s' in %s", name, folder());
    }
    arena_done(&scratch);
    return st;
}
