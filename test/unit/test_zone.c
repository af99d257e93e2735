/* test/unit/test_zone.c: TZif files that are broken, cut or odd; rules in footers. Against zoneinfo: test/files/expressions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/calendar.h"
#include "base/rand.h"
#include "feature/zone.h"
#include "feature/zone_rule.h"

#define EDITS 20000

static void put_header(struct bytes *b, int times, int types, int leaps)
{
    bytes_append(b, "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 44);
    b->data[b->n - 44 + 31] = (uint8_t)leaps;
    b->data[b->n - 44 + 35] = (uint8_t)times;
    b->data[b->n - 44 + 39] = (uint8_t)types;
    b->data[b->n - 44 + 43] = 4;
}

static void put_number(struct bytes *b, int64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes_append(b, (uint8_t[]){(uint8_t)(v >> 8 * (n - 1 - i))}, 1);
}

/* One hour ahead from 0 on, none before; then as the footer says. */
static struct bytes make(const char *footer, int64_t first, int64_t second, int kind, int leaps, int32_t offset)
{
    struct bytes b = BYTES_EMPTY;

    put_header(&b, 0, 1, 0);
    bytes_append(&b, "\0\0\0\0\0\0UTC", 10);
    put_header(&b, 2, 2, leaps);
    put_number(&b, first, 8);
    put_number(&b, second, 8);
    bytes_append(&b, (uint8_t[]){1, (uint8_t)kind}, 2);
    bytes_append(&b, "\0\0\0\0\0\0", 6);
    put_number(&b, offset, 4);
    bytes_append(&b, "\0\0UTC", 6);
    for (int i = 0; i < leaps; i++)
        bytes_append(&b, "\0\0\0\0\0\0\0\0\0\0\0", 12);
    bytes_append(&b, footer, strlen(footer));
    return b;
}

static void a_file_is_taken_or_refused_as_the_table_says(void **state)
{
    static const struct {
        const char *footer;
        int64_t first, second;
        int kind, leaps;
        int32_t offset;
        const char *want; /* NULL: taken */
    } cases[] = {
        {"\nUTC0\n", 0, 100, 0, 0, 3600, NULL},
        {"\n\n", 0, 100, 0, 0, 3600, NULL},
        {"\nUTC0", 0, 100, 0, 0, 3600, "its footer is missing"},
        {"", 0, 100, 0, 0, 3600, "its footer is missing"},
        {"\nnonsense\n", 0, 100, 0, 0, 3600, "its footer is no rule"},
        {"\nUTC0\n", 0, 0, 0, 0, 3600, "its transitions are out of order or range"},
        {"\nUTC0\n", 5, 4, 0, 0, 3600, "its transitions are out of order or range"},
        {"\nCET-1CEST,M3.5.0,M10.5.0/3\n", 0, INT64_MAX, 0, 0, 3600, "its transitions are out of order or range"},
        {"\nUTC0\n", 0, 100, 2, 0, 3600, "a transition has no type"},
        {"\nUTC0\n", 0, 100, 0, 1, 3600, "it counts leap seconds"},
        {"\nUTC0\n", 0, 100, 0, 0, 100000, "an offset is more than 26 hours"},
    };
    struct arena a = ARENA_EMPTY;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes b = make(cases[i].footer, cases[i].first, cases[i].second, cases[i].kind, cases[i].leaps, cases[i].offset);
        const struct zone *z;
        struct error err = {.text = ""};
        enum status st = zone_parse(view_of(b.data, b.n), &a, &z, &err);

        if ((st == OK) != (cases[i].want == NULL) || (cases[i].want && strcmp(err.text, cases[i].want) != 0))
            fail_msg("case %zu: want \"%s\", got \"%s\"", i, cases[i].want ? cases[i].want : "", err.text);
        if (st == OK) {
            assert_int_equal(zone_find(z, -1).offset, 0);
            assert_int_equal(zone_find(z, 0).offset, 3600);
            assert_int_equal(zone_find(z, 100).offset, 0);
        }
        bytes_done(&b);
    }
    arena_done(&a);
}

/* Whatever is read out of it, it must not crash: the sanitizers look. */
static void no_byte_of_a_file_is_trusted(void **state)
{
    struct bytes whole = make("\nCET-1CEST,M3.5.0,M10.5.0/3\n", 0, 100, 0, 0, 3600);
    struct arena a = ARENA_EMPTY;
    struct rand r;

    (void)state;
    printf("seed 37\n");
    rand_seed(&r, 37);
    for (size_t i = 0; i < whole.n + EDITS; i++) {
        size_t n = i < whole.n ? i : whole.n;
        uint8_t *bytes = xmalloc(n + 1); /* its own, so that a byte beyond is seen */
        const struct zone *z;
        struct error err;

        memcpy(bytes, whole.data, n);
        for (uint64_t k = 0; i >= whole.n && k <= rand_below(&r, 4); k++)
            bytes[rand_below(&r, n)] = (uint8_t)(rand_below(&r, 2) ? rand_u64(&r) : (uint64_t[]){0, 1, 0x7f, 0x80, 0xff}[rand_below(&r, 5)]);
        bytes = realloc(bytes, n ? n : 1);
        if (zone_parse(view_of(bytes, n), &a, &z, &err) == OK)
            for (int64_t s = -9000000000000000; s < 9000000000000000; s += 1000000000000001)
                (void)zone_find(z, s);
        else
            n = 0;
        assert_true(i >= whole.n || n == 0); /* cut anywhere, it is refused */
        free(bytes);
        arena_reset(&a);
    }
    bytes_done(&whole);
    arena_done(&a);
}

static void a_rule_begins_and_ends_when_the_table_says(void **state)
{
    static const struct {
        const char *text;
        int64_t year;
        int32_t standard, summer;
        int begins[4], ends[4]; /* UTC: month, day, hour, minute; 0: none */
    } cases[] = {
        {"UTC0", 2030, 0, 0, {0}, {0}},
        {"<+0545>-5:45", 2030, 20700, 0, {0}, {0}},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 2024, 3600, 7200, {3, 31, 1, 0}, {10, 27, 1, 0}},
        {"EST5EDT,M3.2.0,M11.1.0", 2026, -18000, -14400, {3, 8, 7, 0}, {11, 1, 6, 0}},
        {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", 2026, 37800, 39600, {10, 3, 15, 30}, {4, 4, 15, 0}},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 2026, 3600, 0, {10, 25, 1, 0}, {3, 29, 1, 0}},
        {"AAA0BBB,J60,J300/0", 2024, 0, 3600, {3, 1, 2, 0}, {10, 26, 23, 0}},
        {"AAA0BBB,59,299/0", 2024, 0, 3600, {2, 29, 2, 0}, {10, 25, 23, 0}},
        {"AAA0BBB,M3.4.4/50,M10.4.4/-50", 2026, 0, 3600, {3, 28, 2, 0}, {10, 19, 21, 0}},
    };
    static const char *const bad[] = {"", "UT", "UTC", "UTC25", "<UTC0", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
                                      "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J5", "CET-1CEST,0,366", "CET-1CEST,M3.5.0,M10.5.0/168", "CET-1CEST,M3.5.0,M10.5.0x",
                                      "CET-1:60", "UTC0\n", "CET-1CEST-99999999999,0,1"};
    struct zone_rule r;
    int64_t begins, ends;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const int *b = cases[i].begins, *e = cases[i].ends;

        if (!zone_rule_parse(view_str(cases[i].text), &r) || r.standard != cases[i].standard || r.has_summer != (b[0] != 0))
            fail_msg("%s: read otherwise", cases[i].text);
        if (!r.has_summer)
            continue;
        zone_rule_year(&r, cases[i].year, &begins, &ends);
        if (r.summer != cases[i].summer || begins != calendar_days(cases[i].year, b[0], b[1]) * 86400 + b[2] * 3600 + b[3] * 60 ||
            ends != calendar_days(cases[i].year, e[0], e[1]) * 86400 + e[2] * 3600 + e[3] * 60)
            fail_msg("%s: begins %lld, ends %lld", cases[i].text, (long long)begins, (long long)ends);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (zone_rule_parse(view_str(bad[i]), &r))
            fail_msg("'%s' is taken", bad[i]);
}

/* A file of nothing but a rule: it holds at all times, also those 400 years away. */
static void a_rule_alone_holds_for_ever(void **state)
{
    struct bytes b = BYTES_EMPTY;
    struct arena a = ARENA_EMPTY;
    const struct zone *z;
    struct error err;

    (void)state;
    for (int i = 0; i < 2; i++) {
        put_header(&b, 0, 1, 0);
        bytes_append(&b, "\0\0\0\0\0\0UTC", 10);
    }
    bytes_append(&b, "\nCET-1CEST,M3.5.0,M10.5.0/3\n", 28);
    assert_int_equal(zone_parse(view_of(b.data, b.n), &a, &z, &err), OK);
    for (int64_t year = -3000; year < 9000; year++) {
        struct zone_rule r;
        int64_t begins, ends;

        assert_true(zone_rule_parse(view_str("CET-1CEST,M3.5.0,M10.5.0/3"), &r));
        zone_rule_year(&r, year, &begins, &ends);
        assert_int_equal(zone_find(z, begins - 1).offset, 3600);
        assert_int_equal(zone_find(z, begins).offset, 7200);
        assert_int_equal(zone_find(z, ends - 1).offset, 7200);
        assert_int_equal(zone_find(z, ends).offset, 3600);
    }
    bytes_done(&b);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_taken_or_refused_as_the_table_says),
        cmocka_unit_test(no_byte_of_a_file_is_trusted),
        cmocka_unit_test(a_rule_begins_and_ends_when_the_table_says),
        cmocka_unit_test(a_rule_alone_holds_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
