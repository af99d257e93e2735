/* The topic millrace.schemas, read and written. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/log.h"
#include "kafka/kafka.h"
#include "kafka/txn.h"

struct schema_feed {
    struct reader *reader;
    int64_t *next; /* per partition; NULL before the first look */
    int n;
};

enum status schema_feed_new(const char *brokers, const struct pipeline *p, struct schema_feed **ret_feed, struct error *err)
{
    struct schema_feed *f = xcalloc(1, sizeof(*f));

    if (reader_new(brokers, p, &f->reader, err) != OK) {
        schema_feed_free(f);
        return err_wrap(err, "load the schemas");
    }
    *ret_feed = f;
    return OK;
}

void schema_feed_free(struct schema_feed *f)
{
    if (f == NULL)
        return;
    reader_free(f->reader);
    free(f->next);
    free(f);
}

static void take_schema(struct registry *reg, const struct reader_msg *m)
{
    struct error refused;
    const struct schema *kept;
    char subject[300];

    snprintf(subject, sizeof(subject), "%.*s", (int)(m->subject.n < 299 ? m->subject.n : 299),
             m->subject.data == NULL ? "" : (const char *)m->subject.data);
    /* somebody else's bad schema must not stop a stage that never meets it */
    if (registry_add(reg, subject[0] == '\0' ? NULL : subject, m->value, &kept, &refused) != OK)
        log_warn("schema_refused", "topic=%s offset=%" PRId64 " reason=\"%s\"", SCHEMAS_TOPIC, m->offset, refused.text);
}

enum status schema_feed_look(struct schema_feed *f, struct registry *reg, struct error *err)
{
    bool more = false, end = false;
    enum status s = OK;

    if (f->next == NULL) {
        s = reader_partitions(f->reader, SCHEMAS_TOPIC, &f->n, err);
        if (s == OK)
            f->next = xcalloc((size_t)f->n + 1, sizeof(*f->next));
    }
    for (int i = 0; s == OK && i < f->n; i++) {
        int64_t low, high;

        s = reader_bounds(f->reader, SCHEMAS_TOPIC, i, &low, &high, err);
        if (s != OK || f->next[i] >= high)
            continue;
        s = reader_add(f->reader, SCHEMAS_TOPIC, i, f->next[i], high, err);
        f->next[i] = high;
        more = true;
    }
    while (s == OK && more && !end) {
        struct reader_msg m;

        s = reader_next(f->reader, /* timeout_ms= */ -1, &m, &end, err);
        if (s == OK && !end && m.value.data != NULL)
            take_schema(reg, &m);
    }
    return s == OK ? OK : err_wrap(err, "load the schemas");
}

enum status kafka_schemas_load(const char *brokers, const struct pipeline *p, struct registry *reg, struct error *err)
{
    struct schema_feed *f = NULL;
    enum status s = schema_feed_new(brokers, p, &f, err);

    if (s == OK)
        s = schema_feed_look(f, reg, err);
    schema_feed_free(f);
    return s;
}

enum status writer_put_schema(struct writer *w, const char *subject, const struct schema *schema, struct error *err)
{
    char id[16];
    struct log_put put = {.topic = SCHEMAS_TOPIC, .value = view_str(schema_json(schema))};

    snprintf(id, sizeof(id), "%" PRIu32, schema_id(schema));
    put.key = view_str(id);
    return writer_put_with(w, &put, "subject", view_str(subject), err);
}
