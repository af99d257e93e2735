/* Whether what one schema wrote can be read with another: Avro specification 1.11, "Schema Resolution". */
#include "wire/schema_doc.h"

#define STEPS_MAX 100000

struct check {
    const char *reader_is; /* "older" or "newer" */
    const char *writer_is;
    struct error *err;
    size_t n_steps;
};

static enum status can_read(struct check *c, const struct schema *reader, const struct schema *writer);

static bool promotes(enum schema_type from, enum schema_type to)
{
    switch (from) {
    case SCHEMA_INT:
        return to == SCHEMA_LONG || to == SCHEMA_FLOAT || to == SCHEMA_DOUBLE;
    case SCHEMA_LONG:
        return to == SCHEMA_FLOAT || to == SCHEMA_DOUBLE;
    case SCHEMA_FLOAT:
        return to == SCHEMA_DOUBLE;
    case SCHEMA_STRING:
        return to == SCHEMA_BYTES;
    case SCHEMA_BYTES:
        return to == SCHEMA_STRING;
    default:
        return false;
    }
}

/* Whether a writer's type and a reader's branch are meant for each other, without looking inside. */
static bool pairs(const struct schema *reader, const struct schema *writer)
{
    if (reader->type != writer->type)
        return promotes(writer->type, reader->type);
    return reader->name == NULL || strcmp(reader->name, writer->name) == 0;
}

static enum status read_record(struct check *c, const struct schema *reader, const struct schema *writer)
{
    for (size_t i = 0; i < reader->n; i++) {
        const struct schema_field *want = &reader->fields[i];
        const struct schema_field *have = schema_field(writer, want->name);

        if (have == NULL) {
            if (want->deflt == NULL)
                return err_set(c->err, ERR_RECORD,
                               "field '%s': the %s schema needs it, the %s one does not write it; keep it, or give "
                               "it a default in both",
                               want->name, c->reader_is, c->writer_is);
        } else if (can_read(c, want->type, have->type) != OK) {
            return err_wrap(c->err, "field '%s'", want->name);
        }
    }
    return OK;
}

static enum status read_enum(struct check *c, const struct schema *reader, const struct schema *writer)
{
    if (json_object_get(reader->props, "default") != NULL)
        return OK;
    for (size_t i = 0; i < writer->n; i++) {
        bool known = false;

        for (size_t k = 0; k < reader->n && !known; k++)
            known = strcmp(reader->symbols[k], writer->symbols[i]) == 0;
        if (!known)
            return err_set(c->err, ERR_RECORD, "symbol '%s' of the %s schema is unknown to the %s one; give the enum "
                           "a default", writer->symbols[i], c->writer_is, c->reader_is);
    }
    return OK;
}

/* A branch of exactly the same type first, else one that it promotes to. */
static const struct schema *branch_for(const struct schema *reader, const struct schema *writer)
{
    const struct schema *found = NULL;

    for (size_t i = 0; i < reader->n; i++) {
        if (reader->branches[i]->type == writer->type && pairs(reader->branches[i], writer))
            return reader->branches[i];
        if (found == NULL && pairs(reader->branches[i], writer))
            found = reader->branches[i];
    }
    return found;
}

static enum status differs(struct check *c, const struct schema *reader, const struct schema *writer)
{
    return err_set(c->err, ERR_RECORD, "the %s schema says %s, the %s one writes %s", c->reader_is,
                   schema_type_name(reader), c->writer_is, schema_type_name(writer));
}

static enum status can_read(struct check *c, const struct schema *reader, const struct schema *writer)
{
    if (++c->n_steps > STEPS_MAX)
        return err_set(c->err, ERR_RECORD, "schemas too large to compare");
    if (writer->type == SCHEMA_UNION) {
        for (size_t i = 0; i < writer->n; i++)
            if (can_read(c, reader, writer->branches[i]) != OK)
                return c->err->status;
        return OK;
    }
    if (reader->type == SCHEMA_UNION) {
        const struct schema *branch = branch_for(reader, writer);

        return branch ? can_read(c, branch, writer) : differs(c, reader, writer);
    }
    if (!pairs(reader, writer))
        return differs(c, reader, writer);
    switch (reader->type) {
    case SCHEMA_RECORD:
        return read_record(c, reader, writer);
    case SCHEMA_ENUM:
        return read_enum(c, reader, writer);
    case SCHEMA_FIXED:
        return reader->fixed_bytes == writer->fixed_bytes ? OK : differs(c, reader, writer);
    case SCHEMA_ARRAY:
    case SCHEMA_MAP:
        return reader->type == writer->type ? can_read(c, reader->items, writer->items) : differs(c, reader, writer);
    default:
        return OK;
    }
}

enum status schema_compatible(const struct schema *older, const struct schema *newer, struct error *err)
{
    struct check forward = {.reader_is = "older", .writer_is = "newer", .err = err};
    struct check backward = {.reader_is = "newer", .writer_is = "older", .err = err};

    if (can_read(&backward, newer, older) != OK)
        return err->status;
    return can_read(&forward, older, newer);
}
