/* common/ops/pages.c: what a path is answered with. */
#define _GNU_SOURCE
#include "ops/pages.h"

#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"

#define TEXT "text/plain; charset=utf-8"
#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
#define REGISTRY_JSON "application/vnd.schemaregistry.v1+json"

/* Takes the text. */
static enum MHD_Result answer(struct MHD_Connection *c, int status, const char *type, const char *allow,
                              struct bytes *take)
{
    struct MHD_Response *r;
    enum MHD_Result done = MHD_NO;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct conn *conn = info->socket_context;

    bytes_reserve(take, 1); /* never NULL */
    r = MHD_create_response_from_buffer(take->n, take->data, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        bytes_done(take);
        return MHD_NO;
    }
    *take = BYTES_EMPTY;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (allow)
        MHD_add_response_header(r, "Allow", allow);
    conn->answering = true;
    done = MHD_queue_response(c, (unsigned)status, r);
    MHD_destroy_response(r);
    return done;
}

enum MHD_Result pages_answer_text(struct MHD_Connection *c, int status, const char *allow, const char *text)
{
    struct bytes b = BYTES_EMPTY;

    bytes_printf(&b, "%s\n", text);
    return answer(c, status, TEXT, allow, &b);
}

static enum MHD_Result get_metrics(struct ops *ops, struct MHD_Connection *c)
{
    struct bytes b = BYTES_EMPTY;

    metrics_print(ops->metrics, &b);
    return answer(c, MHD_HTTP_OK, PROMETHEUS, NULL, &b);
}

static enum MHD_Result get_live(struct ops *ops, struct MHD_Connection *c)
{
    int64_t beat_ms = atomic_load_explicit(&ops->beat_ms, memory_order_relaxed);
    int64_t still_ms = beat_ms ? clock_mono_ms() - beat_ms : 0;
    struct bytes b = BYTES_EMPTY;

    if (beat_ms == 0 || still_ms <= ops->limits.beat_ms_max)
        return pages_answer_text(c, MHD_HTTP_OK, NULL, "live");
    bytes_printf(&b, "not live: the loop has not turned for %" PRId64 " s\n", still_ms / 1000);
    return answer(c, MHD_HTTP_SERVICE_UNAVAILABLE, TEXT, NULL, &b);
}

static enum MHD_Result get_ready(struct ops *ops, struct MHD_Connection *c)
{
    char reason[sizeof(ops->reason)];
    struct bytes b = BYTES_EMPTY;
    bool ready = ops_is_ready(ops, reason, sizeof(reason));

    if (ready)
        bytes_printf(&b, "ready%s%s\n", reason[0] ? ": " : "", reason);
    else
        bytes_printf(&b, "not ready: %s\n", reason);
    return answer(c, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, TEXT, NULL, &b);
}

static enum MHD_Result call_registry(struct ops *ops, struct MHD_Connection *c, const char *method,
                                     const char *url, const struct bytes *body)
{
    struct bytes json = BYTES_EMPTY;
    int status;

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "POST") != 0)
        return pages_answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD, POST",
                           "method not allowed: GET or POST");
    status = ops->call(ops->call_arg, strcmp(method, "POST") == 0 ? "POST" : "GET", url,
                       view_of(body->data, body->n), &json);
    return answer(c, status, REGISTRY_JSON, NULL, &json);
}

static bool is_under(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place. False: a bad escape, or an escaped NUL (it would cut the path short). */
bool pages_decode_path(char *path)
{
    char *to = path;

    for (const char *p = path; *p; p++) {
        int high, low;

        if (*p != '%') {
            *to++ = *p;
            continue;
        }
        high = hex(p[1]);
        low = high < 0 ? -1 : hex(p[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high * 16 + low);
        p += 2;
    }
    *to = '\0';
    return true;
}

/* `path` is `url` decoded. */
enum MHD_Result pages_route(struct ops *ops, struct MHD_Connection *c, const char *method, const char *url,
                             const char *path, const struct bytes *body)
{
    static const struct {
        const char *path;
        enum MHD_Result (*get)(struct ops *, struct MHD_Connection *);
    } pages[] = {{"/metrics", get_metrics}, {"/live", get_live}, {"/ready", get_ready}};
    /* All that Confluent's clients ask for: what the registry does not have, it refuses in JSON, as they expect. */
    static const char *const registry[] = {"/schemas", "/subjects",      "/config",  "/mode",
                                           "/contexts", "/compatibility", "/associations"};

    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(path, pages[i].path) != 0)
            continue;
        if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
            return pages_answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD", "method not allowed: GET");
        return pages[i].get(ops, c);
    }
    for (size_t i = 0; i < ARRAY_LEN(registry) && ops->call; i++)
        if (is_under(path, registry[i]))
            return call_registry(ops, c, method, url, body);
    return pages_answer_text(c, MHD_HTTP_NOT_FOUND, NULL,
                       "not found: there are /metrics, /live, /ready, /schemas, /subjects, /config");
}
