#include "workers/ingest/source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "wire/container.h"
#include "wire/text.h"
#include "workers/ingest/csv.h"

#define READ_BYTES ((size_t)1 << 20)
#define RECORD_BYTES_MAX ((size_t)16 << 20)

struct source {
    enum source_format format;
    const char *path;
    const struct schema *schema;
    int fd; /* -1: a container */
    struct container_reader *container;
    struct bytes buf; /* read and not consumed: [at, n) */
    size_t at;
    bool is_end;
    int64_t line; /* the next record's first */
    int64_t bytes;
    struct hash hash;
    struct csv_row row;
    char *header[CSV_CELLS_MAX];
    size_t n_header;
    struct bytes body;
};

static enum status open_container(struct source *s, struct error *err)
{
    if (container_open(s->path, &s->container, err) != OK)
        return err->status;
    if (schema_fingerprint(container_schema(s->container)) != schema_fingerprint(s->schema))
        return err_set(err, ERR_FATAL, "%s: its schema is not the topic's: expected %s in its canonical form", s->path,
                       s->schema->name ? s->schema->name : "the topic's");
    return OK;
}

static enum status read_header(struct source *s, struct error *err);

enum status source_open(const char *path, enum source_format format, const struct schema *schema, struct source **ret_source,
                        struct error *err)
{
    struct source *s = xcalloc(1, sizeof(*s));
    enum status st = OK;

    *s = (struct source){.format = format, .path = path, .schema = schema, .line = 1, .fd = -1};
    hash_init(&s->hash);
    if (format == SOURCE_AVRO)
        st = open_container(s, err);
    else if ((s->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)) < 0)
        st = err_set(err, ERR_FATAL, "%s: %s", path, strerror(errno));
    if (st == OK && format == SOURCE_CSV)
        st = read_header(s, err);
    if (st != OK)
        source_close(s);
    else
        *ret_source = s;
    return st;
}

void source_close(struct source *s)
{
    if (s == NULL)
        return;
    if (s->fd > STDIN_FILENO)
        close(s->fd);
    if (s->container)
        container_close(s->container);
    for (size_t i = 0; i < s->n_header; i++)
        free(s->header[i]);
    bytes_done(&s->buf);
    bytes_done(&s->row.scratch);
    bytes_done(&s->body);
    free(s);
}

static enum status fill(struct source *s, struct error *err)
{
    ssize_t n;

    if (s->at) {
        memmove(s->buf.data, s->buf.data + s->at, s->buf.n - s->at);
        s->buf.n -= s->at;
        s->at = 0;
    }
    do
        n = read(s->fd, bytes_reserve(&s->buf, READ_BYTES), READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set(err, ERR_FATAL, "%s: read: %s", s->path, strerror(errno));
    s->buf.n += (size_t)n;
    s->is_end = n == 0;
    return OK;
}

/* Whether a read would not wait: of a pipe somebody else decides. */
static bool is_there(const struct source *s, int wake_fd, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};

    return poll(fds, wake_fd < 0 ? 1 : 2, timeout_ms) != 0 && fds[0].revents != 0;
}

void source_wait(const struct source *s, int wake_fd)
{
    (void)is_there(s, wake_fd, -1);
}

static void consume(struct source *s, const void *p, size_t n)
{
    hash_add(&s->hash, p, n);
    s->bytes += (int64_t)n;
}

/* The next record's text: a line, or a CSV row (s->row). *ret_n 0: the end, or may_wait false and nothing there yet. */
static enum status next_text(struct source *s, bool may_wait, struct view *ret_text, size_t *ret_n, const char **ret_bad,
                             size_t *ret_lines, struct error *err)
{
    for (;;) {
        struct view text = view_of(s->buf.data + s->at, s->buf.n - s->at);
        const uint8_t *nl;
        enum csv_outcome o;

        *ret_text = text;
        *ret_bad = NULL;
        *ret_lines = 1;
        *ret_n = 0;
        if (text.n == 0 && s->is_end)
            return OK;
        if (s->format == SOURCE_CSV && text.n) {
            o = csv_next(text, s->is_end, &s->row, ret_n);
            *ret_lines = s->row.n_lines;
            *ret_bad = o == CSV_BAD ? s->row.why : NULL;
            if (o != CSV_MORE)
                return OK;
        } else if (text.n) {
            nl = memchr(text.data, '\n', text.n);
            *ret_n = nl ? (size_t)(nl - text.data) + 1 : s->is_end ? text.n : 0;
            if (*ret_n)
                return OK;
        }
        if (text.n > RECORD_BYTES_MAX)
            return err_set(err, ERR_FATAL, "%s:%lld: a record of more than 16 MiB: is a quote not closed?", s->path,
                           (long long)s->line);
        if (!may_wait && !is_there(s, -1, 0))
            return OK;
        if (fill(s, err) != OK)
            return err->status;
    }
}

static enum status read_header(struct source *s, struct error *err)
{
    struct view text;
    const char *bad;
    size_t n, lines;

    if (next_text(s, true, &text, &n, &bad, &lines, err) != OK)
        return err->status;
    if (n == 0 || bad || s->row.n == 0)
        return err_set(err, ERR_FATAL, "%s:1: expected a header with the fields' names%s%s", s->path, bad ? ": " : "", bad ? bad : "");
    for (; s->n_header < s->row.n; s->n_header++) {
        struct view c = s->row.cells[s->n_header];

        s->header[s->n_header] = xcalloc(1, c.n + 1);
        if (c.n)
            memcpy(s->header[s->n_header], c.data, c.n);
    }
    consume(s, text.data, n);
    s->at += n;
    s->line += (int64_t)lines;
    return OK;
}

static enum status to_body(struct source *s, struct view text, const char *bad, struct error *why)
{
    bytes_clear(&s->body);
    if (bad)
        return err_set(why, ERR_RECORD, "csv: %s", bad);
    if (s->format == SOURCE_JSONL)
        return text_to_avro(s->schema, text, &s->body, why);
    if (s->row.n != s->n_header)
        return err_set(why, ERR_RECORD, "csv: expected %zu cells as in the header, got %zu", s->n_header, s->row.n);
    return text_csv_to_avro(s->schema, (const char *const *)s->header, s->row.cells, s->row.n, &s->body, why);
}

static bool is_blank(struct view text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.data[i] != '\n' && text.data[i] != '\r' && text.data[i] != ' ' && text.data[i] != '\t')
            return false;
    return true;
}

static enum status next_of_container(struct source *s, enum source_outcome *ret_outcome, struct view *ret_body, int64_t *ret_line,
                                     struct error *err)
{
    if (container_next(s->container, ret_body, err) != OK)
        return err->status;
    *ret_outcome = ret_body->data ? SOURCE_RECORD : SOURCE_END;
    *ret_line = s->line++;
    if (ret_body->data)
        consume(s, ret_body->data, ret_body->n);
    return OK;
}

enum status source_next(struct source *s, enum source_outcome *ret_outcome, struct view *ret_body, int64_t *ret_line,
                        struct error *ret_why, struct error *err)
{
    struct view text;
    const char *bad;
    size_t n, lines;
    enum status st;

    if (s->format == SOURCE_AVRO)
        return next_of_container(s, ret_outcome, ret_body, ret_line, err);
    for (;;) {
        if (next_text(s, false, &text, &n, &bad, &lines, err) != OK)
            return err->status;
        *ret_outcome = s->is_end ? SOURCE_END : SOURCE_WAIT;
        if (n == 0)
            return OK;
        text.n = n;
        *ret_line = s->line;
        st = is_blank(text) ? OK : to_body(s, text, bad, ret_why);
        consume(s, text.data, n);
        s->at += n;
        s->line += (int64_t)lines;
        if (is_blank(text))
            continue;
        *ret_outcome = st == OK ? SOURCE_RECORD : SOURCE_BAD;
        *ret_body = view_of(s->body.data, s->body.n);
        return OK;
    }
}

void source_position(const struct source *s, struct position *ret_position)
{
    struct hash h = s->hash;
    uint8_t digest[HASH_BYTES];

    hash_end(&h, digest);
    hash_to_hex(digest, sizeof(digest), ret_position->sha256);
    ret_position->bytes = s->bytes;
}

enum status source_skip(struct source *s, const struct position *p, struct error *err)
{
    struct position now;

    while (s->bytes < p->bytes) {
        size_t left = (size_t)(p->bytes - s->bytes), n = s->buf.n - s->at;
        struct view body;

        if (s->format == SOURCE_AVRO) {
            if (container_next(s->container, &body, err) != OK)
                return err->status;
            if (body.data == NULL)
                break;
            consume(s, body.data, body.n);
            s->line++;
            continue;
        }
        if (n == 0 && s->is_end)
            break;
        n = n < left ? n : left;
        for (size_t i = 0; i < n; i++)
            s->line += s->buf.data[s->at + i] == '\n';
        consume(s, s->buf.data + s->at, n);
        s->at += n;
        if (n == 0 && fill(s, err) != OK)
            return err->status;
    }
    source_position(s, &now);
    if (now.bytes == p->bytes && strcmp(now.sha256, p->sha256) == 0)
        return OK;
    return err_set(err, ERR_FATAL, "%s: not what was published under this name before: its first %lld bytes differ; --again "
                   "publishes all of it, --source NAME gives it a name of its own", s->path, (long long)p->bytes);
}
