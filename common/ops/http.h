/* common/ops/http.h */
/*
 * http: a worker's port: /metrics, /live, /ready, and the schema registry's look-ups.
 *
 * Shape    ops_new, ops_registry and ops_ready work without a port (file driver); ops_http_start opens it on a
 *          thread of its own, which answers also while the loop is busy.
 *              GET /metrics   Prometheus text
 *              GET /live      200; 503 when the loop that beats has not turned for limits.beat_ms_max
 *              GET /ready     200, or 503 and the reason in words
 *              /schemas /subjects /config   as ops_registry's callback answers; so are /mode /contexts
 *              /compatibility /associations, which Confluent's clients ask for before they go on without
 *              other          404 and the list of what there is; a wrong method 405 with Allow
 * Limits   struct ops_limits; a request that takes longer than its time is cut off, however steadily it drips.
 * Owner    ops_free stops the thread, closes the port, frees all. `metrics` is borrowed and outlives ops.
 * Errors   ops_http_start: ERR_FATAL with what to do (port in use, no permission, no such address).
 * Threads  ops_ready, ops_beat: any. The callback runs on the HTTP thread. All else: the thread that made it.
 */
#ifndef OPS_HTTP_H
#define OPS_HTTP_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/err.h"
#include "ops/metrics.h"

struct ops;

struct ops_limits {
    size_t header_bytes_max;
    size_t body_bytes_max;
    unsigned connections_max;
    int request_ms_max; /* for one request with its answer, and for an idle connection */
    int64_t beat_ms_max;
};

#define OPS_LIMITS ((struct ops_limits){8 * 1024, 1024 * 1024, 64, 10000, 120000})

/* Appends JSON to ret_json and returns the HTTP status. method is "GET" or "POST"; path is as it was sent,
 * without query: its %-escapes are checked, not decoded (a subject may hold a slash). */
typedef int ops_call(void *arg, const char *method, const char *path, struct view body, struct bytes *ret_json);

/* Not ready, with the reason "starting". */
struct ops *ops_new(struct metrics *metrics);
void ops_free(struct ops *ops);

/* Who answers under /schemas, /subjects, /config and the others; before ops_http_start. Without: 404. */
void ops_registry(struct ops *ops, ops_call *call, void *arg);

/* `address`: ":8080" (every interface), "127.0.0.1:8080", "[::1]:8080"; port 0 takes a free one. limits NULL: OPS_LIMITS. */
enum status ops_http_start(struct ops *ops, const char *address, const struct ops_limits *limits, struct error *err);
int ops_http_port(const struct ops *ops); /* 0: not started */

/* The reason says what it waits for ("restoring 2 of 4 tasks: 40 %"): one sentence, no record content. */
void ops_ready(struct ops *ops, bool ready, const char *fmt, ...) PRINTF(3, 4);
/* Copies the present reason; returns whether ready. */
bool ops_is_ready(struct ops *ops, char *ret_reason, size_t cap);

/* The loop turned. From the first call on, /live watches. */
void ops_beat(struct ops *ops);

#endif
