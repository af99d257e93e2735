/* test/unit/test_options.c: options that are given several times, to `millrace` and to a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/attr.h"
#include "cli/cli.h"
#include "stage/internal.h"

static void each_time_it_is_given_has_a_place_of_its_own(void **state)
{
    const char *in[4] = {NULL}, *out = NULL, *args[1];
    const struct cli_option options[] = {{"--out", &out, NULL}, {"--in", &in[0], NULL}, {"--in", &in[1], NULL}, {"--in", &in[2], NULL}, {"--in", &in[3], NULL}};
    char *argv[] = {"verb", "--in", "a", "--in=b", "--out", "o", "file", "--in", "c"};
    size_t n;

    (void)state;
    assert_true(cli_options(ARRAY_LEN(argv), argv, options, ARRAY_LEN(options), args, 1, &n));
    assert_int_equal(n, 1);
    assert_string_equal(in[0], "a");
    assert_string_equal(in[1], "b");
    assert_string_equal(in[2], "c");
    assert_null(in[3]);
    assert_string_equal(out, "o");
}

/* What the call says on standard error. */
static void said(void (*call)(void), char *ret, size_t cap)
{
    FILE *f = tmpfile();
    int kept = dup(STDERR_FILENO);
    size_t n;

    assert_non_null(f);
    fflush(stderr);
    dup2(fileno(f), STDERR_FILENO);
    call();
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(f);
    n = fread(ret, 1, cap - 1, f);
    ret[n] = '\0';
    fclose(f);
}

static void give_three_of_two(void)
{
    const char *in[2] = {NULL}, *out = NULL, *args[1];
    const struct cli_option options[] = {{"--in", &in[0], NULL}, {"--in", &in[1], NULL}, {"--out", &out, NULL}};
    char *argv[] = {"verb", "--in", "a", "--in", "b", "--in", "c"};
    size_t n;

    assert_false(cli_options(ARRAY_LEN(argv), argv, options, ARRAY_LEN(options), args, 1, &n));
    assert_string_equal(in[1], "b");
}

static void give_two_of_one(void)
{
    const char *set = NULL, *args[1];
    bool all = false;
    const struct cli_option options[] = {{"--set", &set, NULL}, {"--all", NULL, &all}};
    char *argv[] = {"verb", "--all", "--all", "--set=a", "--set=b"};
    size_t n;

    assert_false(cli_options(ARRAY_LEN(argv), argv, options, ARRAY_LEN(options), args, 1, &n));
    assert_string_equal(set, "a");
}

static void once_more_than_it_has_places_is_a_wrong_call(void **state)
{
    char text[500];

    (void)state;
    said(give_three_of_two, text, sizeof(text));
    assert_non_null(strstr(text, "millrace verb: '--in' may be given 2 times, and is once more"));
    said(give_two_of_one, text, sizeof(text));
    assert_non_null(strstr(text, "'--set' may be given 1 time, and is once more"));
}

static const struct worker worker = {.name = "preprocess"};

/* preprocess p.json s, then n files of one option. */
static int read_files(const char *option, size_t n, struct stage_options *ret)
{
    char *argv[3 + 2 * (FILES_MAX + 1)] = {"preprocess", "p.json", "s"};

    for (size_t i = 0; i < n; i++) {
        argv[3 + 2 * i] = (char *)(uintptr_t)option;
        argv[4 + 2 * i] = "f.avro";
    }
    optind = 0; /* getopt's, from the beginning */
    return options_read(&worker, (int)(3 + 2 * n), argv, ret);
}

static void give_a_worker_too_many(void)
{
    struct stage_options o;

    assert_int_equal(read_files("--in", FILES_MAX + 1, &o), 2);
    assert_int_equal(read_files("--out", FILES_MAX + 1, &o), 2);
}

static void a_worker_takes_a_file_for_each_topic_that_a_stage_may_have_and_no_more(void **state)
{
    struct stage_options o;
    char text[500];

    (void)state;
    assert_int_equal(read_files("--in", FILES_MAX, &o), -1);
    assert_int_equal(o.n_in, FILES_MAX);
    assert_int_equal(read_files("--out", FILES_MAX, &o), -1);
    assert_int_equal(o.n_out, FILES_MAX);
    said(give_a_worker_too_many, text, sizeof(text));
    assert_non_null(strstr(text, "preprocess: --in: at most 10 files, for a stage has at most 8 topics"));
    assert_non_null(strstr(text, "preprocess: --out: at most 10 files"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_time_it_is_given_has_a_place_of_its_own),
        cmocka_unit_test(once_more_than_it_has_places_is_a_wrong_call),
        cmocka_unit_test(a_worker_takes_a_file_for_each_topic_that_a_stage_may_have_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
