/* The topic millrace.schemas, read and written. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "stage/kafka.h"
#include "stage/txn.h"

enum status kafka_schemas_load(const char *brokers, const struct pipeline *p, struct registry *reg, struct error *err)
{
    struct reader *r = NULL;
    int n = 0;
    bool end = false;
    enum status s = reader_new(brokers, p, &r, err);

    if (s == OK)
        s = reader_partitions(r, SCHEMAS_TOPIC, &n, err);
    for (int i = 0; s == OK && i < n; i++) {
        int64_t low, high;

        s = reader_bounds(r, SCHEMAS_TOPIC, i, &low, &high, err);
        if (s == OK)
            s = reader_add(r, SCHEMAS_TOPIC, i, low, high, err);
    }
    while (s == OK && n > 0 && !end) {
        struct reader_msg m;
        struct error refused;
        const struct schema *kept;
        char subject[300];

        s = reader_next(r, /* timeout_ms= */ -1, &m, &end, err);
        if (s != OK || end || m.value.data == NULL)
            continue;
        snprintf(subject, sizeof(subject), "%.*s", (int)(m.subject.n < 299 ? m.subject.n : 299),
                 m.subject.data == NULL ? "" : (const char *)m.subject.data);
        /* somebody else's bad schema must not stop a stage that never meets it */
        if (registry_add(reg, subject[0] == '\0' ? NULL : subject, m.value, &kept, &refused) != OK)
            log_warn("schema_refused", "topic=%s offset=%" PRId64 " reason=\"%s\"", SCHEMAS_TOPIC, m.offset,
                     refused.text);
    }
    reader_free(r);
    return s == OK ? OK : err_wrap(err, "load the schemas");
}

enum status writer_put_schema(struct writer *w, const char *subject, const struct schema *schema, struct error *err)
{
    char id[16];
    struct log_put put = {.topic = SCHEMAS_TOPIC, .value = view_str(schema_json(schema))};

    snprintf(id, sizeof(id), "%" PRIu32, schema_id(schema));
    put.key = view_str(id);
    return writer_put_with(w, &put, "subject", view_str(subject), err);
}
