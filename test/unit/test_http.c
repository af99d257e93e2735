/* test/unit/test_http.c: a worker's port, by hand-made clients on 127.0.0.1, and addresses. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/rand.h"
#include "ops/http.h"
#include "ops/listen.h"
#include "test/unit/promcheck.h"

#define PATIENCE_S 20 /* an answer that does not come fails the test, it does not hang it */
#define BODY_BYTES_MAX 5000

struct port {
    struct metrics metrics;
    struct ops *ops;
    char method[16], path[256];
    size_t body_bytes;
    unsigned char body_sum;
};

static int answer_as_a_registry(void *arg, const char *method, const char *path, struct view body,
                                struct bytes *ret_json)
{
    struct port *p = arg;

    snprintf(p->method, sizeof(p->method), "%s", method);
    snprintf(p->path, sizeof(p->path), "%s", path);
    p->body_bytes = body.n;
    p->body_sum = 0;
    for (size_t i = 0; i < body.n; i++)
        p->body_sum = (unsigned char)(p->body_sum + body.data[i]);
    bytes_printf(ret_json, "{\"id\":7}");
    return strstr(path, "nothing") ? 404 : 200;
}

static void port_open(struct port *p, int request_ms_max, unsigned connections_max, int64_t beat_ms_max)
{
    struct ops_limits limits = {8 * 1024, BODY_BYTES_MAX, connections_max, request_ms_max, beat_ms_max};
    struct error err;

    memset(p, 0, sizeof(*p));
    metrics_init(&p->metrics, "fraud", "customer");
    p->ops = ops_new(&p->metrics);
    ops_registry(p->ops, answer_as_a_registry, p);
    if (ops_http_start(p->ops, "127.0.0.1:0", &limits, &err) != OK)
        fail_msg("%s", err.text);
}

static int setup(void **state)
{
    struct port *p = calloc(1, sizeof(*p));

    port_open(p, PATIENCE_S * 1000, 64, 60000);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct port *p = *state;

    ops_free(p->ops);
    free(p);
    return 0;
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* What the port refuses early it may also reset: a failed send is not a fault of the test. */
static void say(int fd, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        text += sent;
        n -= (size_t)sent;
    }
}

/* Everything up to the end of the connection (all requests say Connection: close). */
static char *hear(int fd)
{
    struct bytes b = BYTES_EMPTY;
    ssize_t n;

    while ((n = recv(fd, bytes_reserve(&b, 4096), 4096, 0)) > 0)
        b.n += (size_t)n;
    if (n < 0 && errno != ECONNRESET)
        fail_msg("no end within %d s after '%.*s': %s", PATIENCE_S, (int)b.n, b.data, strerror(errno));
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

static char *ask_bytes(const struct port *p, const char *text, size_t n)
{
    int fd = dial(ops_http_port(p->ops));
    char *reply;

    say(fd, text, n);
    reply = hear(fd);
    close(fd);
    return reply;
}

static char *ask(const struct port *p, const char *text)
{
    return ask_bytes(p, text, strlen(text));
}

static int status_of(const char *reply)
{
    int status = 0;

    return sscanf(reply, "HTTP/1.1 %d ", &status) == 1 ? status : -1;
}

static const char *body_of(const char *reply)
{
    const char *end = strstr(reply, "\r\n\r\n");

    return end ? end + 4 : "";
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static void each_request_gets_the_status_of_its_row(void **state)
{
#define HEAD " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    static const struct {
        const char *request;
        int status;
        const char *holds;
    } rows[] = {
        {GET("/live"), 200, "\r\n\r\nlive\n"},
        {GET("/ready"), 503, "\r\n\r\nnot ready: starting\n"},
        {GET("/metrics"), 200, "millrace_ready{pipeline=\"fraud\",stage=\"customer\"} 0\n"},
        {GET("/metrics?x=1"), 200, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"},
        {GET("/%6Cive"), 200, "live\n"},
        {GET("/schemas/ids/7"), 200, "{\"id\":7}"},
        {GET("/subjects"), 200, "Content-Type: application/vnd.schemaregistry.v1+json\r\n"},
        {GET("/associations/resources/-/x?limit=-1"), 200, "{\"id\":7}"},
        {GET("/schemas/nothing"), 404, "{\"id\":7}"},
        {GET("/"), 404, "/metrics, /live, /ready"},
        {GET("/metrics/"), 404, "not found"},
        {GET("/schemasx"), 404, "not found"},
        {GET("/etc/passwd"), 404, "not found"},
        {GET("/live%00x"), 400, "escape"},
        {GET("/live%4"), 400, "escape"},
        {GET("/live%zz"), 400, "escape"},
        {"POST /metrics" HEAD "Content-Length: 0\r\n\r\n", 405, "Allow: GET, HEAD\r\n"},
        {"DELETE /live" HEAD "\r\n", 405, "Allow: GET, HEAD\r\n"},
        {"PUT /config" HEAD "Content-Length: 2\r\n\r\n{}", 405, "Allow: GET, HEAD, POST\r\n"},
        {"DELETE /subjects/x" HEAD "\r\n", 405, "Allow: GET, HEAD, POST\r\n"},
        {"POST /subjects/x" HEAD "Content-Length: 2\r\n\r\n{}", 200, "{\"id\":7}"},
        {"POST /subjects/x" HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, "{\"id\":7}"},
        {"POST /subjects/x" HEAD "Transfer-Encoding: gzip\r\n\r\n", 400, ""},
        {"POST /subjects/x" HEAD "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
        {"POST /subjects/x" HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", 400, ""},
        {"POST /subjects/x" HEAD "Content-Length: 5001\r\n\r\n", 413, "too large"},
        {"POST /subjects/x" HEAD "Content-Length: 99999999999999999999999\r\n\r\n", 413, ""},
        {"POST /subjects/x" HEAD "Content-Length: -1\r\n\r\n", 400, ""},
        {"GET /live HTTP/1.1\r\nConnection: close\r\n\r\n", 400, ""}, /* no Host */
    };
    struct port *p = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *reply = ask(p, rows[i].request);

        if (status_of(reply) != rows[i].status || strstr(reply, rows[i].holds) == NULL)
            fail_msg("%s\nwant %d with '%s', got:\n%s", rows[i].request, rows[i].status, rows[i].holds, reply);
        free(reply);
    }
}

static void head_is_get_without_a_body(void **state)
{
    char *reply = ask(*state, "HEAD /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    assert_int_equal(status_of(reply), 200);
    assert_string_equal(body_of(reply), "");
    assert_non_null(strstr(reply, "Content-Length: 5\r\n"));
    free(reply);
}

static void the_metrics_page_follows_the_format(void **state)
{
    char *reply = ask(*state, GET("/metrics"));
    const char *fault = prom_check(body_of(reply));

    if (fault)
        fail_msg("%s", fault);
    free(reply);
}

static void ready_says_why_not_in_one_line(void **state)
{
    struct port *p = *state;
    char *reply, reason[64];

    ops_ready(p->ops, false, "restoring %d of %d tasks", 2, 4);
    reply = ask(p, GET("/ready"));
    assert_int_equal(status_of(reply), 503);
    assert_string_equal(body_of(reply), "not ready: restoring 2 of 4 tasks\n");
    free(reply);
    assert_false(ops_is_ready(p->ops, reason, sizeof(reason)));
    assert_string_equal(reason, "restoring 2 of 4 tasks");
    ops_ready(p->ops, true, "line\nbreak");
    assert_int_equal(metrics_get(&p->metrics, METRIC_READY, 0), 1);
    reply = ask(p, GET("/ready"));
    assert_int_equal(status_of(reply), 200);
    assert_string_equal(body_of(reply), "ready: line break\n");
    free(reply);
}

static void a_body_reaches_the_registry_whole_in_however_many_pieces(void **state)
{
    struct port *p = *state;
    char text[BODY_BYTES_MAX + 200];
    int n = snprintf(text, sizeof(text), "POST /subjects/a%%2Fb?normalize=false HTTP/1.1\r\nHost: x\r\n"
                                         "Connection: close\r\nContent-Length: %d\r\n\r\n", BODY_BYTES_MAX);
    unsigned char sum = 0;
    int fd = dial(ops_http_port(p->ops));
    char *reply;

    for (int i = 0; i < BODY_BYTES_MAX; i++) {
        text[n + i] = (char)(i * 31);
        sum = (unsigned char)(sum + (unsigned char)(i * 31));
    }
    for (int at = 0; at < n + BODY_BYTES_MAX; at += 613)
        say(fd, text + at, (size_t)(n + BODY_BYTES_MAX - at < 613 ? n + BODY_BYTES_MAX - at : 613));
    reply = hear(fd);
    assert_int_equal(status_of(reply), 200);
    assert_string_equal(p->method, "POST");
    assert_string_equal(p->path, "/subjects/a%2Fb");
    assert_int_equal(p->body_bytes, BODY_BYTES_MAX);
    assert_int_equal(p->body_sum, sum);
    free(reply);
    close(fd);
}

static void a_chunked_body_beyond_the_limit_is_413_and_never_called(void **state)
{
    struct port *p = *state;
    struct bytes b = BYTES_EMPTY;
    char *reply;

    bytes_printf(&b, "POST /subjects/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 6; i++)
        bytes_printf(&b, "3e8\r\n%01000d\r\n", 0);
    bytes_printf(&b, "0\r\n\r\n");
    reply = ask_bytes(p, (const char *)b.data, b.n);
    assert_int_equal(status_of(reply), 413);
    assert_string_equal(p->method, "");
    free(reply);
    bytes_done(&b);
}

static void a_header_beyond_8_kib_is_refused_and_one_just_below_is_not(void **state)
{
    static const int sizes[] = {7000, 8300, 9000, 30000, 1000000};
    char *filler = malloc(1000001);

    memset(filler, 'a', 1000000);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct bytes b = BYTES_EMPTY;
        char *reply;
        int status;

        bytes_printf(&b, "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %.*s\r\n\r\n", sizes[i],
                     filler);
        reply = ask_bytes(*state, (const char *)b.data, b.n);
        status = status_of(reply);
        /* A client that still sends may see the connection reset before it reads the answer. */
        if (sizes[i] < 8192 ? status != 200 : status != 431 && status != 413 && !(sizes[i] > 9000 && status < 0))
            fail_msg("%d bytes: got %d: %.200s", sizes[i], status, reply);
        free(reply);
        bytes_done(&b);
    }
    free(filler);
}

static void two_requests_on_one_connection_get_two_answers(void **state)
{
    struct port *p = *state;
    char *reply = ask(p, "GET /live HTTP/1.1\r\nHost: x\r\n\r\n" GET("/schemas/types"));
    const char *second = strstr(reply + 1, "HTTP/1.1 200");

    assert_int_equal(status_of(reply), 200);
    assert_non_null(second);
    assert_string_equal(body_of(second), "{\"id\":7}");
    free(reply);
}

#define GARBLED_N 2000

/* Well-formed requests with a few bytes changed, cut or doubled: whatever comes back, the port goes on. */
static void garbled_requests_neither_stop_the_port_nor_call_with_what_was_not_sent(void **state)
{
    static const char *const seeds[] = {
        GET("/metrics"),
        "POST /subjects/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        "POST /subjects/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    };
    const uint64_t seed = 20261124;
    struct port *p = *state;
    struct rand r;

    rand_seed(&r, seed);
    for (int i = 0; i < GARBLED_N; i++) {
        const char *from = seeds[rand_below(&r, ARRAY_LEN(seeds))];
        struct bytes b = BYTES_EMPTY;
        int fd = dial(ops_http_port(p->ops));

        p->body_bytes = 0;
        bytes_append(&b, from, strlen(from));
        for (uint64_t n = rand_below(&r, 4); n > 0; n--)
            b.data[rand_below(&r, b.n)] = (uint8_t)rand_u64(&r);
        if (rand_below(&r, 4) == 0)
            b.n = rand_below(&r, b.n);
        if (rand_below(&r, 4) == 0) {
            bytes_reserve(&b, b.n);
            bytes_append(&b, b.data, b.n);
        }
        say(fd, (const char *)b.data, b.n);
        shutdown(fd, SHUT_WR); /* an unfinished one ends here */
        free(hear(fd));
        close(fd);
        if (p->body_bytes > b.n)
            fail_msg("seed %lu, request %d: a body of %zu of %zu bytes", (unsigned long)seed, i, p->body_bytes, b.n);
        bytes_done(&b);
    }
    each_request_gets_the_status_of_its_row(state);
}

static int64_t wall_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sends a byte whenever the port has been quiet for 20 ms, until it ends; the reply. */
static char *drip(int fd)
{
    struct bytes b = BYTES_EMPTY;
    int64_t begun_ms = wall_ms();

    for (;;) {
        struct pollfd f = {.fd = fd, .events = POLLIN};

        if (poll(&f, 1, 20) > 0) {
            ssize_t n = recv(fd, bytes_reserve(&b, 4096), 4096, 0);

            if (n <= 0)
                break;
            b.n += (size_t)n;
        }
        say(fd, "x", 1);
        if (wall_ms() - begun_ms > PATIENCE_S * 1000)
            fail_msg("the port let a dripping client stay for %d s", PATIENCE_S);
    }
    bytes_append(&b, "", 1);
    return (char *)b.data;
}

static void whoever_drips_a_header_or_a_body_is_cut_off_in_time(void **state)
{
    static const char *const begins[] = {
        "GET /live HTTP/1.1\r\nHost: x\r\nX: ",
        "POST /subjects/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n",
    };
    struct port p;

    (void)state;
    port_open(&p, 300, 64, 60000);
    for (size_t i = 0; i < ARRAY_LEN(begins); i++) {
        int fd = dial(ops_http_port(p.ops));
        int64_t begun_ms = wall_ms();
        char *reply;

        say(fd, begins[i], strlen(begins[i]));
        reply = drip(fd);
        assert_in_range(wall_ms() - begun_ms, 250, 10000);
        assert_int_equal(status_of(reply), 408);
        free(reply);
        close(fd);
    }
    assert_string_equal(p.method, "");
    ops_free(p.ops);
}

static void an_idle_connection_is_closed_without_a_word_after_an_answer(void **state)
{
    static const char request[] = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n";
    struct port p;
    char *reply;
    int fd;

    (void)state;
    port_open(&p, 300, 64, 60000);
    fd = dial(ops_http_port(p.ops));
    say(fd, request, sizeof(request) - 1);
    reply = hear(fd);
    assert_int_equal(status_of(reply), 200);
    assert_string_equal(body_of(reply), "live\n");
    free(reply);
    close(fd);
    ops_free(p.ops);
}

/* Silent clients take all connections; the probe that waits behind them is answered when they are cut off. */
static void silent_clients_cannot_hold_the_port(void **state)
{
    struct port p;
    int fds[8];
    char *reply;

    (void)state;
    port_open(&p, 300, ARRAY_LEN(fds), 60000);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dial(ops_http_port(p.ops));
    reply = ask(&p, GET("/live"));
    assert_int_equal(status_of(reply), 200);
    free(reply);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    ops_free(p.ops);
}

static void live_turns_red_only_when_the_loop_that_beats_stands_still(void **state)
{
    struct port p;
    char *reply;

    (void)state;
    port_open(&p, 10000, 64, /* beat_ms_max= */ -1); /* any beat is too old */
    reply = ask(&p, GET("/live"));
    assert_int_equal(status_of(reply), 200);
    free(reply);
    ops_beat(p.ops);
    reply = ask(&p, GET("/live"));
    assert_int_equal(status_of(reply), 503);
    assert_non_null(strstr(reply, "the loop has not turned for 0 s"));
    free(reply);
    ops_free(p.ops);
}

static size_t n_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void the_port_is_free_again_after_the_end_and_no_descriptor_stays(void **state)
{
    size_t before = n_fds();

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct port p;
        int open;

        port_open(&p, 10000, 64, 60000);
        free(ask(&p, GET("/metrics")));
        open = dial(ops_http_port(p.ops)); /* still open at the end */
        ops_free(p.ops);
        close(open);
    }
    assert_int_equal(n_fds(), before);
}

static void without_a_port_readiness_still_works(void **state)
{
    static struct metrics m;
    struct ops *ops;

    (void)state;
    metrics_init(&m, "p", "s");
    ops = ops_new(&m);
    assert_int_equal(ops_http_port(ops), 0);
    ops_ready(ops, true, "%s", "");
    assert_true(ops_is_ready(ops, NULL, 0));
    ops_free(ops);
    ops_free(NULL);
}

static void a_wrong_address_is_one_sentence_with_what_to_do(void **state)
{
    static const char *const rows[][2] = {
        {"", "expected \":8080\""},
        {"8080", "expected \":8080\""},
        {":", "expected \":8080\""},
        {":65536", "expected \":8080\""},
        {":999999", "expected \":8080\""},
        {":80x", "expected \":8080\""},
        {"::1:80", "expected \":8080\""},
        {"[::1:80", "expected \":8080\""},
        {"http://x:80", "expected \":8080\""},
        {"203.0.113.7:0", "no interface of this machine has that address"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        int fd, port;

        if (listen_open(rows[i][0], &fd, &port, &err) != ERR_FATAL || strstr(err.text, rows[i][1]) == NULL ||
            strstr(err.text, rows[i][0]) == NULL)
            fail_msg("'%s': got '%s'", rows[i][0], err.text);
    }
}

static void a_port_in_use_is_said_with_its_address(void **state)
{
    struct port *p = *state;
    struct ops *second = ops_new(&p->metrics);
    struct error err = {0};
    char address[64];

    snprintf(address, sizeof(address), "127.0.0.1:%d", ops_http_port(p->ops));
    assert_int_equal(ops_http_start(second, address, NULL, &err), ERR_FATAL);
    assert_non_null(strstr(err.text, address));
    assert_non_null(strstr(err.text, "the port is in use by another program; stop that one, or"));
    ops_free(second);
}

static void a_colon_and_a_port_listen_on_every_interface(void **state)
{
    struct error err = {0};
    int fd, port, client;

    (void)state;
    assert_int_equal(listen_open(":0", &fd, &port, &err), OK);
    assert_in_range(port, 1, 65535);
    client = dial(port);
    close(client);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_request_gets_the_status_of_its_row, setup, teardown),
        cmocka_unit_test_setup_teardown(head_is_get_without_a_body, setup, teardown),
        cmocka_unit_test_setup_teardown(the_metrics_page_follows_the_format, setup, teardown),
        cmocka_unit_test_setup_teardown(ready_says_why_not_in_one_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_body_reaches_the_registry_whole_in_however_many_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(a_chunked_body_beyond_the_limit_is_413_and_never_called, setup, teardown),
        cmocka_unit_test_setup_teardown(a_header_beyond_8_kib_is_refused_and_one_just_below_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(two_requests_on_one_connection_get_two_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(garbled_requests_neither_stop_the_port_nor_call_with_what_was_not_sent, setup,
                                        teardown),
        cmocka_unit_test(whoever_drips_a_header_or_a_body_is_cut_off_in_time),
        cmocka_unit_test(an_idle_connection_is_closed_without_a_word_after_an_answer),
        cmocka_unit_test(silent_clients_cannot_hold_the_port),
        cmocka_unit_test(live_turns_red_only_when_the_loop_that_beats_stands_still),
        cmocka_unit_test(the_port_is_free_again_after_the_end_and_no_descriptor_stays),
        cmocka_unit_test(without_a_port_readiness_still_works),
        cmocka_unit_test(a_wrong_address_is_one_sentence_with_what_to_do),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_said_with_its_address, setup, teardown),
        cmocka_unit_test(a_colon_and_a_port_listen_on_every_interface),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
