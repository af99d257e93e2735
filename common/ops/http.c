#define _GNU_SOURCE
#include "ops/http.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "ops/listen.h"
#include "ops/pages.h"

#define WAIT_MS_MAX 60000

struct request {
    struct bytes body;
    bool too_large;
};

/* --- requests --- */

struct framing {
    int lengths, codings;
    bool too_long, bad_coding;
    size_t body_bytes_max;
};

static enum MHD_Result see_framing(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct framing *f = arg;

    (void)kind;
    if (strcasecmp(key, "Content-Length") == 0) {
        f->lengths++;
        errno = 0;
        f->too_long |= value == NULL || strtoull(value, NULL, 10) > f->body_bytes_max || errno != 0;
    } else if (strcasecmp(key, "Transfer-Encoding") == 0) {
        f->codings++;
        f->bad_coding |= value == NULL || strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

/* The header is here, the body is not: what is refused now is not read. */
static enum MHD_Result begin(struct ops *ops, struct MHD_Connection *c, struct conn *conn,
                             struct request **ret_request)
{
    struct framing f = {.body_bytes_max = ops->limits.body_bytes_max};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    conn->in_request = true;
    *ret_request = xcalloc(1, sizeof(**ret_request));
    if (info && info->header_size > ops->limits.header_bytes_max)
        return pages_answer_text(c, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, NULL, "the header is too large");
    MHD_get_connection_values(c, MHD_HEADER_KIND, see_framing, &f);
    /* Two ways to say how long the body is are how one request is smuggled in another. */
    if (f.lengths > 1 || f.codings > 1 || (f.lengths && f.codings) || f.bad_coding)
        return pages_answer_text(c, MHD_HTTP_BAD_REQUEST, NULL,
                           "expected one Content-Length, or Transfer-Encoding: chunked");
    if (f.too_long)
        return pages_answer_text(c, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the body is too large");
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *n_upload, void **slot)
{
    struct ops *ops = arg;
    struct request *r = *slot;
    struct conn *conn = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    enum MHD_Result done;
    char *path;

    (void)version;
    if (r == NULL)
        return begin(ops, c, conn, (struct request **)slot);
    if (*n_upload != 0) {
        /* Too much is read to its end and forgotten: the answer can only come after it. */
        r->too_large |= *n_upload > ops->limits.body_bytes_max - r->body.n;
        if (!r->too_large)
            bytes_append(&r->body, upload, *n_upload);
        *n_upload = 0;
        return MHD_YES;
    }
    if (r->too_large)
        return pages_answer_text(c, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the body is too large");
    path = xstrdup(url);
    done = pages_decode_path(path) ? pages_route(ops, c, method, url, path, &r->body)
                             : pages_answer_text(c, MHD_HTTP_BAD_REQUEST, NULL, "a bad %-escape in the path");
    free(path);
    return done;
}

static void on_completed(void *arg, struct MHD_Connection *c, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    struct ops *ops = arg;
    struct conn *conn = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct request *r = *slot;

    (void)code;
    if (r)
        bytes_done(&r->body);
    free(r);
    *slot = NULL;
    if (conn == NULL)
        return;
    conn->n_answered++;
    conn->in_request = conn->answering = false;
    conn->deadline_ms = clock_mono_ms() + ops->limits.request_ms_max;
}

static void on_connection(void *arg, struct MHD_Connection *c, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct ops *ops = arg;
    struct conn *conn = *slot;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        conn = xcalloc(1, sizeof(*conn));
        conn->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        conn->deadline_ms = clock_mono_ms() + ops->limits.request_ms_max;
        conn->next = ops->conns;
        conn->link = &ops->conns;
        if (conn->next)
            conn->next->link = &conn->next;
        ops->conns = conn;
        *slot = conn;
        return;
    }
    ops->freed = true;
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    free(conn);
    *slot = NULL;
}

/* --- the thread --- */

/* libmicrohttpd waits for the edge of an end that came together with the last bytes: it has passed. */
static bool has_hung_up(const struct conn *c)
{
    char byte;

    return !c->answering && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Cuts off whoever is past its time or gone; returns how long until the next one is. */
static int64_t sweep(struct ops *ops)
{
    static const char late[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    int64_t now = clock_mono_ms(), next = now + WAIT_MS_MAX;

    for (struct conn *c = ops->conns; c; c = c->next) {
        if (c->deadline_ms == INT64_MAX)
            continue;
        if (has_hung_up(c)) {
            shutdown(c->fd, SHUT_RDWR);
            c->deadline_ms = INT64_MAX;
            continue;
        }
        if (c->deadline_ms > now) {
            next = c->deadline_ms < next ? c->deadline_ms : next;
            continue;
        }
        /* Not to an idle connection: its client would take it for the answer to its next request. */
        if (!c->answering && (c->in_request || c->n_answered == 0))
            (void)!send(c->fd, late, sizeof(late) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        shutdown(c->fd, SHUT_RDWR); /* libmicrohttpd sees the end and closes */
        c->deadline_ms = INT64_MAX;
    }
    return next - now;
}

static void *serve(void *arg)
{
    struct ops *ops = arg;
    struct pollfd fds[2] = {
        {.fd = MHD_get_daemon_info(ops->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN},
        {.fd = ops->stop_fd, .events = POLLIN},
    };

    while (fds[1].revents == 0) {
        int64_t wait_ms = sweep(ops);
        MHD_UNSIGNED_LONG_LONG asked;

        if (MHD_get_timeout(ops->daemon, &asked) == MHD_YES && asked < (uint64_t)wait_ms)
            wait_ms = (int64_t)asked;
        if (poll(fds, ARRAY_LEN(fds), (int)wait_ms) < 0)
            continue; /* EINTR */
        /* At its limit it leaves the listening socket out of the epoll set, and puts it back at the begin of a
         * run only: without another one, nobody would be accepted until some other event. */
        do {
            ops->freed = false;
            MHD_run(ops->daemon);
        } while (ops->freed);
    }
    return NULL;
}

/* The path's escapes are decoded by pages_decode_path, which sees an escaped NUL. */
static size_t keep_escapes(void *arg, struct MHD_Connection *c, char *s)
{
    (void)arg;
    (void)c;
    return strlen(s);
}

static struct MHD_Daemon *start_daemon(struct ops *ops, int fd)
{
    /* The pool holds the header, its table and the answer's header. */
    size_t pool_bytes = 2 * ops->limits.header_bytes_max + 4096;

    return MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, ops, MHD_OPTION_LISTEN_SOCKET, fd,
                            MHD_OPTION_CONNECTION_LIMIT, ops->limits.connections_max,
                            MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool_bytes, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                            MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, ops, MHD_OPTION_NOTIFY_CONNECTION, on_connection, ops,
                            MHD_OPTION_END);
}

static int start_thread(struct ops *ops)
{
    sigset_t all, saved;
    int code;

    /* Signals are for the main thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    code = pthread_create(&ops->thread, NULL, serve, ops);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    return code;
}

enum status ops_http_start(struct ops *ops, const char *address, const struct ops_limits *limits,
                           struct error *err)
{
    int fd, code;

    assert(ops->daemon == NULL);
    if (limits)
        ops->limits = *limits;
    if (listen_open(address, &fd, &ops->port, err) != OK)
        return err->status;
    ops->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ops->daemon = ops->stop_fd < 0 ? NULL : start_daemon(ops, fd);
    if (ops->daemon == NULL) {
        close(fd);
        if (ops->stop_fd >= 0)
            close(ops->stop_fd);
        return err_set(err, ERR_FATAL, "cannot serve HTTP on \"%s\": %s; raise the limit of open files (ulimit -n)",
                       address, strerror(errno));
    }
    code = start_thread(ops);
    if (code == 0)
        return OK;
    MHD_stop_daemon(ops->daemon);
    ops->daemon = NULL;
    close(ops->stop_fd);
    return err_set(err, ERR_FATAL, "cannot start the HTTP thread: %s; raise the limit of processes (ulimit -u)",
                   strerror(code));
}

/* --- the rest --- */

struct ops *ops_new(struct metrics *metrics)
{
    struct ops *ops = xcalloc(1, sizeof(*ops));

    ops->metrics = metrics;
    ops->limits = OPS_LIMITS;
    pthread_mutex_init(&ops->lock, NULL);
    ops_ready(ops, false, "starting");
    return ops;
}

void ops_free(struct ops *ops)
{
    const uint64_t one = 1;

    if (ops == NULL)
        return;
    if (ops->daemon) {
        (void)!write(ops->stop_fd, &one, sizeof(one));
        pthread_join(ops->thread, NULL);
        MHD_stop_daemon(ops->daemon); /* closes the port too */
        close(ops->stop_fd);
    }
    pthread_mutex_destroy(&ops->lock);
    free(ops);
}

void ops_registry(struct ops *ops, ops_call *call, void *arg)
{
    ops->call = call;
    ops->call_arg = arg;
}

int ops_http_port(const struct ops *ops)
{
    return ops->daemon ? ops->port : 0;
}

void ops_ready(struct ops *ops, bool ready, const char *fmt, ...)
{
    char reason[sizeof(ops->reason)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    for (char *p = reason; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    pthread_mutex_lock(&ops->lock);
    ops->ready = ready;
    memcpy(ops->reason, reason, sizeof(reason));
    pthread_mutex_unlock(&ops->lock);
    metrics_set(ops->metrics, METRIC_READY, ready);
}

bool ops_is_ready(struct ops *ops, char *ret_reason, size_t cap)
{
    bool ready;

    pthread_mutex_lock(&ops->lock);
    ready = ops->ready;
    if (cap != 0)
        snprintf(ret_reason, cap, "%s", ops->reason);
    pthread_mutex_unlock(&ops->lock);
    return ready;
}

void ops_beat(struct ops *ops)
{
    atomic_store_explicit(&ops->beat_ms, clock_mono_ms(), memory_order_relaxed);
}
