#include "stage/file_topic.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "kafka/kafka.h"
#include "wire/container.h"
#include "wire/plan.h"

struct file_topic {
    struct container_reader *reader;
    uint32_t schema_id;
    struct want key;
    struct decode_plan *key_plan; /* NULL: no field is known as the key */
    struct arena arena;
    struct batch row; /* the key of one record */
    int n_partitions;
    int64_t *offsets; /* next, per partition */
};

static enum status open_key(struct file_topic *f, const struct schema *writer, const struct topic *t, struct error *err)
{
    struct want leaves[WANTS_MAX];
    size_t n = schema_wants(t->schema, leaves, ARRAY_LEN(leaves));

    if (t->keyed_by == NULL)
        return OK;
    for (size_t i = 0; i < n && i < ARRAY_LEN(leaves); i++)
        if (strcmp(leaves[i].path, t->keyed_by) == 0)
            f->key = leaves[i];
    batch_init(&f->row, &f->arena, 1);
    decode_begin(&f->key, 1, &f->row);
    f->row.n_rows = 1;
    return decode_plan_new(writer, t->schema, &f->key, 1, &f->key_plan, err);
}

enum status file_topic_open(const char *path, const struct topic *t, int n_partitions, struct registry *registry,
                            struct file_topic **ret_file, struct error *err)
{
    struct file_topic *f = xcalloc(1, sizeof(*f));
    const struct schema *schema;

    f->n_partitions = n_partitions;
    f->offsets = xcalloc((size_t)n_partitions, sizeof(*f->offsets));
    if (container_open(path, &f->reader, err) != OK ||
        registry_add(registry, NULL, view_str(schema_json(container_schema(f->reader))), &schema, err) != OK) {
        file_topic_close(f);
        return err->status;
    }
    f->schema_id = schema_id(schema);
    if (open_key(f, schema, t, err) != OK) {
        file_topic_close(f);
        return err_wrap(err, "%s", path);
    }
    *ret_file = f;
    return OK;
}

void file_topic_close(struct file_topic *f)
{
    if (f == NULL)
        return;
    container_close(f->reader);
    decode_plan_free(f->key_plan);
    arena_done(&f->arena);
    free(f->offsets);
    free(f);
}

static int partition_of(const struct file_topic *f)
{
    const struct col *c = &f->row.cols[0];
    char text[32];

    if (c->null[0])
        return 0;
    if (c->type >= COL_STRING)
        return kafka_partition(c->view[0], f->n_partitions);
    snprintf(text, sizeof(text), "%" PRId64, c->i64[0]);
    return kafka_partition(view_str(text), f->n_partitions);
}

enum status file_topic_next(struct file_topic *f, struct log_record *ret, struct error *err)
{
    struct view body;
    bool has_key;

    if (container_next_row(f->reader, f->key_plan, &f->row, &body, &has_key, err) != OK)
        return err->status;
    *ret = (struct log_record){.value = body, .arrival_ms = -1, .bare = true, .schema_id = f->schema_id};
    if (body.data == NULL)
        return OK;
    ret->partition = has_key ? partition_of(f) : 0;
    ret->offset = f->offsets[ret->partition]++;
    return OK;
}

int64_t file_topic_offset(const struct file_topic *f, int partition)
{
    return f->offsets[partition];
}
