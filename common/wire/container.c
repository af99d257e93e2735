/*
 * Avro object container files (Avro specification 1.11): "Obj" 1, a map of metadata (avro.schema,
 * avro.codec), a sync marker of 16 bytes; then blocks: count, size in bytes, records, the marker.
 */
#include "wire/container.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/arena.h"
#include "wire/avro.h"
#include "wire/skip.h"

#define BLOCK_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define META_BYTES_MAX ((size_t)2 * 1024 * 1024)
#define BLOCK_BYTES_WRITTEN ((size_t)64 * 1024)
#define SYNC_BYTES 16

struct container_reader {
    FILE *f;
    char *path;
    uint64_t offset;       /* bytes taken from the file */
    uint64_t block_offset; /* where the present block begins */
    struct schema *schema;
    bool deflate;
    uint8_t sync[SYNC_BYTES];
    struct bytes raw;   /* the block as it stands in the file */
    struct bytes block; /* inflated */
    struct view rest;   /* what is left of the block's records */
    int64_t n_left;
};

static enum status ends_early(const struct container_reader *r, struct error *err)
{
    if (ferror(r->f))
        return err_set(err, ERR_FATAL, "%s: cannot be read: %s", r->path, strerror(errno));
    return err_set(err, ERR_FATAL, "%s: the file ends inside the block at byte %" PRIu64 "; it was cut", r->path,
                   r->block_offset);
}

static enum status take(struct container_reader *r, void *to, size_t n, struct error *err)
{
    size_t got = fread(to, 1, n, r->f);

    r->offset += got;
    return got == n ? OK : ends_early(r, err);
}

static enum status take_long(struct container_reader *r, int64_t *ret, struct error *err)
{
    uint8_t b[VARINT_BYTES_MAX];
    size_t n = 0;

    do {
        if (n == sizeof(b))
            return err_set(err, ERR_FATAL, "%s: block at byte %" PRIu64 ": a number longer than 64 bits", r->path,
                           r->block_offset);
        if (take(r, &b[n], 1, err) != OK)
            return err->status;
    } while (b[n++] >= 0x80);
    if (varint_read_long(b, b + n, ret) == NULL)
        return err_set(err, ERR_FATAL, "%s: block at byte %" PRIu64 ": a number longer than 64 bits", r->path,
                       r->block_offset);
    return OK;
}

/* In steps, so that a length that lies cannot ask for memory that no byte of the file stands for. */
static enum status take_bytes(struct container_reader *r, size_t n, struct bytes *ret, struct error *err)
{
    bytes_clear(ret);
    while (n != 0) {
        size_t step = n < 1024 * 1024 ? n : 1024 * 1024;

        if (take(r, bytes_reserve(ret, step), step, err) != OK)
            return err->status;
        ret->n += step;
        n -= step;
    }
    return OK;
}

static enum status take_meta_text(struct container_reader *r, struct bytes *ret, struct error *err)
{
    int64_t n;

    if (take_long(r, &n, err) != OK)
        return err->status;
    if (n < 0 || (uint64_t)n + r->offset > META_BYTES_MAX)
        return err_set(err, ERR_FATAL, "%s: metadata of %" PRId64 " bytes; at most %zu", r->path, n, META_BYTES_MAX);
    return take_bytes(r, (size_t)n, ret, err);
}

static bool is_text(const struct bytes *b, const char *text)
{
    return view_eq(view_of(b->data, b->n), view_str(text));
}

static enum status take_meta(struct container_reader *r, struct error *err)
{
    const char *what = NULL;
    enum status st = OK;

    if (is_text(&r->raw, "avro.schema")) {
        if (r->schema != NULL)
            return err_set(err, ERR_FATAL, "%s: two schemas", r->path);
        st = take_meta_text(r, &r->block, err);
        if (st == OK && schema_parse(view_of(r->block.data, r->block.n), NULL, NULL, &r->schema, err) != OK)
            return err_wrap(err, "%s: schema", r->path);
        return st;
    }
    if (is_text(&r->raw, "avro.codec"))
        what = "codec";
    st = take_meta_text(r, &r->block, err);
    if (st != OK || what == NULL)
        return st;
    r->deflate = is_text(&r->block, "deflate");
    if (!r->deflate && !is_text(&r->block, "null"))
        return err_set(err, ERR_FATAL, "%s: codec '%.*s'; null and deflate are read", r->path,
                       (int)(r->block.n < 32 ? r->block.n : 32), (const char *)r->block.data);
    return OK;
}

static enum status take_header(struct container_reader *r, struct error *err)
{
    char magic[4];
    int64_t n;

    if (take(r, magic, sizeof(magic), err) != OK || memcmp(magic, "Obj\1", 4) != 0)
        return err_set(err, ERR_FATAL, "%s: not an Avro container file (it does not begin with Obj, 1)", r->path);
    for (;;) {
        if (take_long(r, &n, err) != OK)
            return err->status;
        if (n == 0)
            break;
        if (n < 0) {
            int64_t n_bytes;

            n = n == INT64_MIN ? INT64_MAX : -n;
            if (take_long(r, &n_bytes, err) != OK)
                return err->status;
        }
        for (; n > 0; n--)
            if (take_meta_text(r, &r->raw, err) != OK || take_meta(r, err) != OK)
                return err->status;
    }
    if (r->schema == NULL)
        return err_set(err, ERR_FATAL, "%s: no schema in its metadata", r->path);
    return take(r, r->sync, SYNC_BYTES, err);
}

enum status container_open(const char *path, struct container_reader **ret_reader, struct error *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rb");
    struct container_reader *r;

    if (f == NULL)
        return err_set(err, ERR_FATAL, "%s: cannot be read: %s", path, strerror(errno));
    r = xcalloc(1, sizeof(*r));
    r->f = f;
    r->path = xstrdup(standard ? "standard input" : path);
    if (take_header(r, err) != OK) {
        container_close(r);
        return err->status;
    }
    *ret_reader = r;
    return OK;
}

const struct schema *container_schema(const struct container_reader *r)
{
    return r->schema;
}

void container_close(struct container_reader *r)
{
    if (r == NULL)
        return;
    if (r->f != stdin)
        fclose(r->f);
    schema_free(r->schema);
    bytes_done(&r->raw);
    bytes_done(&r->block);
    free(r->path);
    free(r);
}

static enum status bad_block(const struct container_reader *r, const char *why, struct error *err)
{
    return err_set(err, ERR_FATAL, "%s: block at byte %" PRIu64 ": %s", r->path, r->block_offset, why);
}

static enum status inflate_block(struct container_reader *r, struct error *err)
{
    z_stream z = {.next_in = r->raw.data, .avail_in = (uInt)r->raw.n};
    int rc;

    bytes_clear(&r->block);
    if (inflateInit2(&z, /* raw, as Avro has it */ -15) != Z_OK)
        return bad_block(r, "no memory to inflate it", err);
    do {
        z.next_out = bytes_reserve(&r->block, 65536);
        z.avail_out = 65536;
        rc = inflate(&z, Z_NO_FLUSH);
        r->block.n += 65536 - z.avail_out;
    } while (rc == Z_OK && r->block.n <= BLOCK_BYTES_MAX);
    inflateEnd(&z);
    if (r->block.n > BLOCK_BYTES_MAX)
        return bad_block(r, "more than 64 MiB when inflated", err);
    return rc == Z_STREAM_END ? OK : bad_block(r, "not what deflate writes", err);
}

static enum status take_block(struct container_reader *r, struct error *err)
{
    uint8_t sync[SYNC_BYTES];
    int64_t n_bytes;

    if (take_long(r, &r->n_left, err) != OK || take_long(r, &n_bytes, err) != OK)
        return err->status;
    if (n_bytes < 0 || (uint64_t)n_bytes > BLOCK_BYTES_MAX)
        return bad_block(r, "its size is negative or more than 64 MiB", err);
    if (take_bytes(r, (size_t)n_bytes, &r->raw, err) != OK || take(r, sync, SYNC_BYTES, err) != OK)
        return err->status;
    if (memcmp(sync, r->sync, SYNC_BYTES) != 0)
        return bad_block(r, "no sync marker at its end", err);
    if (r->deflate && inflate_block(r, err) != OK)
        return err->status;
    r->rest = r->deflate ? view_of(r->block.data, r->block.n) : view_of(r->raw.data, r->raw.n);
    if (r->n_left < 0 || (uint64_t)r->n_left > r->rest.n + SKIP_EMPTY_ITEMS_MAX)
        return bad_block(r, "more records than bytes", err);
    if (r->rest.data == NULL)
        r->rest.data = (const uint8_t *)"";
    return OK;
}

/* Up to the block that the next record lies in; *ret_more false: there is none. */
static enum status find_record(struct container_reader *r, bool *ret_more, struct error *err)
{
    for (*ret_more = true; r->n_left == 0;) {
        int c;

        if (r->rest.n != 0)
            return bad_block(r, "bytes left over after its last record", err);
        c = getc(r->f);
        r->block_offset = r->offset;
        if (c == EOF && !ferror(r->f)) {
            *ret_more = false;
            return OK;
        }
        ungetc(c, r->f);
        if (take_block(r, err) != OK)
            return err->status;
    }
    return OK;
}

static enum status skip_record(const struct container_reader *r, size_t *ret_n, struct error *err)
{
    struct skip s = {.p = r->rest.data, .end = r->rest.data + r->rest.n};
    char why[128];
    char text[192];

    if (!skip_value(&s, r->schema)) {
        skip_why(&s, why, sizeof(why));
        snprintf(text, sizeof(text), "a record that is not of the file's schema: %s", why);
        return bad_block(r, text, err);
    }
    *ret_n = (size_t)(s.p - r->rest.data);
    return OK;
}

enum status container_next_row(struct container_reader *r, const struct decode_plan *plan, struct batch *row, struct view *ret_body,
                               bool *ret_is_read, struct error *err)
{
    bool more;
    size_t n;

    *ret_body = (struct view){0};
    if (find_record(r, &more, err) != OK)
        return err->status;
    if (!more)
        return OK;
    *ret_is_read = plan && decode_first(plan, r->rest, row, 0, &n, err) == OK;
    if (!*ret_is_read && skip_record(r, &n, err) != OK)
        return err->status;
    *ret_body = view_of(r->rest.data, n);
    r->rest = view_of(r->rest.data + n, r->rest.n - n);
    r->n_left--;
    return OK;
}

enum status container_next(struct container_reader *r, struct view *ret_body, struct error *err)
{
    bool is_read;

    return container_next_row(r, NULL, NULL, ret_body, &is_read, err);
}

/* -- writing -- */

struct container_writer {
    FILE *f;
    char *path;
    uint8_t sync[SYNC_BYTES];
    struct bytes block;
    struct bytes head; /* before the block: count and size */
    int64_t n;
};

static enum status put(struct container_writer *w, const void *p, size_t n, struct error *err)
{
    if (n == 0 || fwrite(p, 1, n, w->f) == n)
        return OK;
    return err_set(err, ERR_FATAL, "%s: cannot be written: %s%s", w->path, strerror(errno),
                   errno == ENOSPC ? "; free some space and run again" : "");
}

static enum status put_block(struct container_writer *w, struct error *err)
{
    enum status st;

    if (w->n == 0)
        return OK;
    bytes_clear(&w->head);
    avro_put_long(&w->head, w->n);
    avro_put_long(&w->head, (int64_t)w->block.n);
    st = put(w, w->head.data, w->head.n, err);
    if (st == OK)
        st = put(w, w->block.data, w->block.n, err);
    if (st == OK)
        st = put(w, w->sync, SYNC_BYTES, err);
    bytes_clear(&w->block);
    w->n = 0;
    return st;
}

enum status container_create(const char *path, const struct schema *schema, struct container_writer **ret_writer,
                             struct error *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdout : fopen(path, "wb");
    uint64_t half = schema_fingerprint(schema);
    struct container_writer *w;
    struct bytes head = BYTES_EMPTY;
    enum status st;

    if (f == NULL)
        return err_set(err, ERR_FATAL, "%s: cannot be written: %s", path, strerror(errno));
    w = xcalloc(1, sizeof(*w));
    w->f = f;
    w->path = xstrdup(standard ? "standard output" : path);
    memcpy(w->sync, &half, 8);
    half = ~half * 0x9e3779b97f4a7c15u;
    memcpy(w->sync + 8, &half, 8);

    bytes_append(&head, "Obj\1", 4);
    avro_put_long(&head, 2);
    avro_put_str(&head, "avro.codec");
    avro_put_str(&head, "null");
    avro_put_str(&head, "avro.schema");
    avro_put_str(&head, schema_json(schema));
    avro_put_long(&head, 0);
    bytes_append(&head, w->sync, SYNC_BYTES);
    st = put(w, head.data, head.n, err);
    bytes_done(&head);
    if (st != OK) {
        struct error ignored;

        (void)container_finish(w, &ignored);
        return st;
    }
    *ret_writer = w;
    return OK;
}

enum status container_append(struct container_writer *w, struct view body, struct error *err)
{
    bytes_append(&w->block, body.data, body.n);
    w->n++;
    return w->block.n < BLOCK_BYTES_WRITTEN && w->n < SKIP_EMPTY_ITEMS_MAX ? OK : put_block(w, err);
}

enum status container_finish(struct container_writer *w, struct error *err)
{
    enum status st = put_block(w, err);
    bool standard = w->f == stdout;

    if ((standard ? fflush(w->f) : fclose(w->f)) != 0 && st == OK)
        st = err_set(err, ERR_FATAL, "%s: cannot be written: %s%s", w->path, strerror(errno),
                     errno == ENOSPC ? "; free some space and run again" : "");
    bytes_done(&w->block);
    bytes_done(&w->head);
    free(w->path);
    free(w);
    return st;
}
