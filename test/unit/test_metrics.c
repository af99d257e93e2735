/* test/unit/test_metrics.c: the page that Prometheus reads, and the list in docs/operations.md. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/attr.h"
#include "ops/metrics.h"
#include "test/unit/promcheck.h"

static char *page_of(const struct metrics *m)
{
    struct bytes b = BYTES_EMPTY;

    metrics_print(m, &b);
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

static void assert_line(const char *page, const char *line)
{
    char *with_end;

    assert_true(asprintf(&with_end, "\n%s\n", line) > 0);
    if (strstr(page, with_end) == NULL)
        fail_msg("no line '%s' in:\n%s", line, page);
    free(with_end);
}

/* Something in every metric. */
static void fill(struct metrics *m)
{
    for (int i = 0; i < METRICS_N; i++) {
        const struct metric_row *row = metrics_row((enum metric)i);

        if (row->kind == METRIC_GAUGE)
            metrics_set(m, (enum metric)i, 1530403200123);
        else if (row->kind == METRIC_COUNTER)
            for (size_t j = 0; j < (row->label ? row->n_label_values : 1); j++)
                metrics_add(m, (enum metric)i, (int)j, (int64_t)j + 1);
        else
            for (int64_t v = 1; v < 100000000; v *= 3)
                metrics_observe(m, (enum metric)i, v);
    }
}

static void the_checker_refuses_each_of_these_pages(void **state)
{
#define HEAD(type) "# HELP a_total A.\n# TYPE a_total " type "\n"
#define H_HEAD "# HELP h H.\n# TYPE h histogram\n"
    static const char *const pages[][2] = {
        {"", "no end"},
        {HEAD("counter") "a_total 1", "no end"},
        {"a_total 1\n", "outside"},
        {"# TYPE a_total counter\na_total 1\n", "TYPE not right"},
        {"# HELP a_total A.\na_total 1\n", "outside"},
        {"# HELP a_total A.\n", "no TYPE"},
        {"# HELP a_total \n# TYPE a_total counter\n", "HELP without"},
        {HEAD("counter") "a_total 1\n" HEAD("counter"), "family twice"},
        {HEAD("counter") "a_total 1\na_total 1\n", "series twice"},
        {HEAD("counter") "a_total{x=\"1\"} 1\na_total{x=\"1\"} 2\n", "series twice"},
        {HEAD("counter") "a_total -1\n", "below 0"},
        {HEAD("counter") "a_total nan1\n", "no number"},
        {HEAD("counter") "a_total \n", "no number"},
        {HEAD("counter") "a_total{x=1} 1\n", "bad labels"},
        {HEAD("counter") "a_total{x=\"\\d\"} 1\n", "bad labels"},
        {HEAD("counter") "a_total{x=\"1\"\n", "bad labels"},
        {HEAD("counter") "a_total{x=\"1\",} 1\n", "bad labels"},
        {HEAD("counter") "b_total 1\n", "outside"},
        {HEAD("gauge") "a_total 1\n", "_total is"},
        {"# HELP a A.\n# TYPE a counter\na 1\n", "_total is"},
        {"# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n", "base unit"},
        {"# HELP aB A.\n# TYPE aB gauge\naB 1\n", "camel"},
        {"# HELP a_count A.\n# TYPE a_count gauge\na_count 1\n", "suffix"},
        {"# HELP a A.\n# TYPE a number\na 1\n", "unknown type"},
        {H_HEAD "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n", "_count is not"},
        {H_HEAD "h_bucket{le=\"+Inf\"} 1\nh_sum 1\n", "histogram without"},
        {H_HEAD "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", "buckets fall"},
        {H_HEAD "h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\n", "buckets fall"},
        {H_HEAD "h_bucket 1\n", "without le"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        const char *fault = prom_check(pages[i][0]);

        if (fault == NULL || strstr(fault, pages[i][1]) == NULL)
            fail_msg("expected '%s', got '%s' for:\n%s", pages[i][1], fault ? fault : "no fault", pages[i][0]);
    }
    assert_null(prom_check(HEAD("counter") "a_total{x=\"\\\"\\\\\\n\"} 1e+06\n" H_HEAD
                                           "h_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 1\nh_sum -1\nh_count 1\n"));
}

static void an_empty_page_and_a_full_page_follow_the_format(void **state)
{
    static struct metrics m;

    (void)state;
    metrics_init(&m, "a \"quoted\\\nname", "customer");
    for (int full = 0; full < 2; full++) {
        char *page = page_of(&m);
        const char *fault = prom_check(page);

        if (fault)
            fail_msg("%s in:\n%s", fault, page);
        free(page);
        fill(&m);
    }
}

/* promtool is the judge where it is installed (Debian: prometheus). */
static void promtool_finds_nothing_to_say(void **state)
{
    static struct metrics m;
    char *page;
    FILE *tool;
    int status;

    (void)state;
    if (system("command -v promtool > /dev/null 2>&1") != 0)
        skip(); /* cmocka says so */
    metrics_init(&m, "fraud", "customer");
    fill(&m);
    page = page_of(&m);
    tool = popen("promtool check metrics 1>&2", "w");
    assert_non_null(tool);
    assert_int_equal(fwrite(page, 1, strlen(page), tool), strlen(page));
    status = pclose(tool);
    free(page);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void values_are_printed_in_base_units_with_pipeline_and_stage(void **state)
{
    static struct metrics m;
    char *page;

    (void)state;
    metrics_init(&m, "fraud", "customer");
    metrics_add(&m, METRIC_RECORDS, OUTCOME_TAKEN, 1000000007);
    metrics_add(&m, METRIC_RECORDS, OUTCOME_TAKEN, 3);
    metrics_add(&m, METRIC_DEAD_LETTERS, REASON_PARTITION, 2);
    metrics_set(&m, METRIC_EVENT_TIME, 1530403200123);
    metrics_set(&m, METRIC_LAG, 0);
    metrics_observe(&m, METRIC_COMMIT_DURATION, 10000); /* on a bound: le includes it */
    metrics_observe(&m, METRIC_COMMIT_DURATION, 10001);
    metrics_observe(&m, METRIC_COMMIT_DURATION, 99000000);
    page = page_of(&m);
#define AT "{pipeline=\"fraud\",stage=\"customer\""
    assert_line(page, "millrace_records_total" AT ",outcome=\"taken\"} 1000000010");
    assert_line(page, "millrace_records_total" AT ",outcome=\"put\"} 0");
    assert_line(page, "millrace_dead_letters_total" AT ",reason=\"partition\"} 2");
    assert_line(page, "millrace_event_time_seconds" AT "} 1530403200.123");
    assert_line(page, "millrace_lag_records" AT "} 0");
    assert_line(page, "millrace_commit_duration_seconds_bucket" AT ",le=\"0.005\"} 0");
    assert_line(page, "millrace_commit_duration_seconds_bucket" AT ",le=\"0.01\"} 1");
    assert_line(page, "millrace_commit_duration_seconds_bucket" AT ",le=\"0.025\"} 2");
    assert_line(page, "millrace_commit_duration_seconds_bucket" AT ",le=\"+Inf\"} 3");
    assert_line(page, "millrace_commit_duration_seconds_sum" AT "} 99.020001");
    assert_int_equal(metrics_get(&m, METRIC_COMMIT_DURATION, 0), 3);
    assert_int_equal(metrics_get(&m, METRIC_RECORDS, OUTCOME_TAKEN), 1000000010);
    free(page);
}

static void a_gauge_is_absent_until_it_is_set_and_again_when_unset(void **state)
{
    static struct metrics m;

    (void)state;
    metrics_init(&m, NULL, NULL);
    for (int step = 0; step < 3; step++) {
        char *page;

        if (step == 1)
            metrics_set(&m, METRIC_LAG, 5);
        if (step == 2)
            metrics_unset(&m, METRIC_LAG);
        page = page_of(&m);
        assert_int_equal(strstr(page, "millrace_lag_records") != NULL, step == 1);
        assert_int_equal(metrics_get(&m, METRIC_LAG, 0), step == 1 ? 5 : 0);
        free(page);
    }
}

static double value_of(const char *page, const char *name)
{
    const char *p;
    char *key;
    double v;

    assert_true(asprintf(&key, "\n%s ", name) > 0);
    p = strstr(page, key);
    assert_non_null(p);
    v = strtod(p + strlen(key), NULL);
    free(key);
    return v;
}

static void the_process_says_its_memory_time_and_start(void **state)
{
    static struct metrics m;
    char *page;

    (void)state;
    metrics_init(&m, "p", "s");
    page = page_of(&m);
    assert_in_range(value_of(page, "process_resident_memory_bytes"), 100000, 4000000000u);
    assert_true(value_of(page, "process_cpu_seconds_total") > 0);
    assert_in_range(value_of(page, "process_open_fds"), 3, 1000);
    /* A test is young: started at most 10 minutes ago, not in the future (clock ticks are 10 ms). */
    assert_in_range((uint64_t)(value_of(page, "process_start_time_seconds") * 1000),
                    ((uint64_t)time(NULL) - 600) * 1000, ((uint64_t)time(NULL) + 1) * 1000);
    free(page);
}

#define WRITERS 4
#define ADDS 20000

static void *write_some(void *arg)
{
    struct metrics *m = arg;

    for (int64_t i = 0; i < ADDS; i++) {
        metrics_add(m, METRIC_RECORDS, OUTCOME_PUT, 1);
        metrics_observe(m, METRIC_BATCH_RECORDS, i % 7000);
    }
    return NULL;
}

static void writers_lose_nothing_and_a_page_printed_meanwhile_is_whole(void **state)
{
    static struct metrics m;
    pthread_t threads[WRITERS];

    (void)state;
    metrics_init(&m, "p", "s");
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, &m), 0);
    for (int i = 0; i < 20; i++) {
        char *page = page_of(&m);
        const char *fault = prom_check(page);

        if (fault)
            fail_msg("%s", fault);
        free(page);
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_get(&m, METRIC_RECORDS, OUTCOME_PUT), WRITERS * ADDS);
    assert_int_equal(metrics_get(&m, METRIC_BATCH_RECORDS, 0), WRITERS * ADDS);
}

#define DOC "docs/operations.md"
#define DOC_BEGIN "<!-- metrics: generated, see test/unit/test_metrics.c -->\n"
#define DOC_END "<!-- end of metrics -->\n"

static char *read_doc(void)
{
    struct bytes b = BYTES_EMPTY;
    FILE *f = fopen(DOC, "re");
    size_t n;

    assert_non_null(f);
    while ((n = fread(bytes_reserve(&b, 4096), 1, 4096, f)) > 0)
        b.n += n;
    fclose(f);
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

/* MILLRACE_UPDATE=1 writes the table into the page instead. */
static void the_list_in_operations_md_is_the_table(void **state)
{
    char *doc = read_doc();
    char *begin = strstr(doc, DOC_BEGIN), *end = strstr(doc, DOC_END);
    struct bytes want = BYTES_EMPTY;

    (void)state;
    assert_non_null(begin);
    assert_non_null(end);
    begin += strlen(DOC_BEGIN);
    metrics_doc(&want);
    if (getenv("MILLRACE_UPDATE")) {
        FILE *f = fopen(DOC, "we");

        assert_non_null(f);
        fprintf(f, "%.*s%.*s%s", (int)(begin - doc), doc, (int)want.n, want.data, end);
        fclose(f);
    } else if ((size_t)(end - begin) != want.n || memcmp(begin, want.data, want.n) != 0) {
        fail_msg("%s differs from the table in common/ops/metrics.c; run with MILLRACE_UPDATE=1", DOC);
    }
    bytes_done(&want);
    free(doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checker_refuses_each_of_these_pages),
        cmocka_unit_test(an_empty_page_and_a_full_page_follow_the_format),
        cmocka_unit_test(promtool_finds_nothing_to_say),
        cmocka_unit_test(values_are_printed_in_base_units_with_pipeline_and_stage),
        cmocka_unit_test(a_gauge_is_absent_until_it_is_set_and_again_when_unset),
        cmocka_unit_test(the_process_says_its_memory_time_and_start),
        cmocka_unit_test(writers_lose_nothing_and_a_page_printed_meanwhile_is_whole),
        cmocka_unit_test(the_list_in_operations_md_is_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
