/* Known schemas in a list: there are tens of them, and a loop asks once per id, not per record. */
#include "wire/registry.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"

struct subject {
    char *name;
    const struct schema **versions; /* versions[0] is version 1 */
    size_t n;
};

struct registry {
    pthread_mutex_t lock;
    struct schema **schemas;
    size_t n_schemas;
    struct subject *subjects;
    size_t n_subjects;
};

struct registry *registry_new(void)
{
    struct registry *r = xcalloc(1, sizeof(*r));

    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void registry_free(struct registry *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n_schemas; i++)
        schema_free(r->schemas[i]);
    for (size_t i = 0; i < r->n_subjects; i++) {
        free(r->subjects[i].name);
        free(r->subjects[i].versions);
    }
    free(r->schemas);
    free(r->subjects);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static const struct schema *find_id(const struct registry *r, uint32_t id)
{
    for (size_t i = 0; i < r->n_schemas; i++)
        if (schema_id(r->schemas[i]) == id)
            return r->schemas[i];
    return NULL;
}

static struct subject *find_subject(const struct registry *r, const char *name)
{
    for (size_t i = 0; i < r->n_subjects; i++)
        if (strcmp(r->subjects[i].name, name) == 0)
            return &r->subjects[i];
    return NULL;
}

static void add_version(struct registry *r, const char *name, const struct schema *s)
{
    struct subject *sub = find_subject(r, name);

    if (sub == NULL) {
        r->subjects = xrealloc(r->subjects, (r->n_subjects + 1) * sizeof(*r->subjects));
        sub = &r->subjects[r->n_subjects++];
        *sub = (struct subject){.name = xstrdup(name)};
    }
    for (size_t i = 0; i < sub->n; i++)
        if (sub->versions[i] == s)
            return;
    sub->versions = xrealloc(sub->versions, (sub->n + 1) * sizeof(struct schema *));
    sub->versions[sub->n++] = s;
}

enum status registry_add(struct registry *r, const char *subject, struct view schema_text,
                         const struct schema **ret_schema, struct error *err)
{
    struct schema *s;
    const struct schema *known;
    enum status st = schema_parse(schema_text, NULL, NULL, &s, err);

    if (st != OK) {
        err->status = ERR_RECORD;
        return ERR_RECORD;
    }
    pthread_mutex_lock(&r->lock);
    known = find_id(r, schema_id(s));
    if (known == NULL) {
        r->schemas = xrealloc(r->schemas, (r->n_schemas + 1) * sizeof(struct schema *));
        r->schemas[r->n_schemas++] = s;
        known = s;
        s = NULL;
    } else if (strcmp(schema_canonical(known), schema_canonical(s)) != 0) {
        st = err_set(err, ERR_RECORD, "schema id %u of %s is taken by %s; rename a field or the record", schema_id(s),
                     schema_type_name(s), schema_type_name(known));
    }
    if (st == OK && subject != NULL)
        add_version(r, subject, known);
    pthread_mutex_unlock(&r->lock);
    schema_free(s);
    if (st == OK && ret_schema)
        *ret_schema = known;
    return st;
}

const struct schema *registry_by_id(struct registry *r, uint32_t id)
{
    const struct schema *s;

    pthread_mutex_lock(&r->lock);
    s = find_id(r, id);
    pthread_mutex_unlock(&r->lock);
    return s;
}

const struct schema *registry_by_fingerprint(struct registry *r, uint64_t fingerprint)
{
    const struct schema *s = NULL;

    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n_schemas && s == NULL; i++)
        if (schema_fingerprint(r->schemas[i]) == fingerprint)
            s = r->schemas[i];
    pthread_mutex_unlock(&r->lock);
    return s;
}

const struct schema *registry_latest(struct registry *r, const char *subject)
{
    const struct schema *s = NULL;
    const struct subject *sub;

    pthread_mutex_lock(&r->lock);
    sub = find_subject(r, subject);
    if (sub != NULL)
        s = sub->versions[sub->n - 1];
    pthread_mutex_unlock(&r->lock);
    return s;
}

/* -- the HTTP calls of Confluent's clients -- */

#define PARTS_MAX 6

static int answer(struct bytes *out, int http, json_t *take)
{
    char *text = json_dumps(take, JSON_COMPACT | JSON_ENCODE_ANY);

    bytes_append(out, text, strlen(text));
    free(text);
    json_decref(take);
    return http;
}

static int refuse(struct bytes *out, int http, int code, const char *message)
{
    return answer(out, http, json_pack("{s:i,s:s}", "error_code", code, "message", message));
}

static int hex(char c)
{
    return isdigit((unsigned char)c)    ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

/* %41 -> A, in place. */
static bool decode_part(char *from)
{
    char *to = from;

    while (*from != '\0') {
        if (*from != '%') {
            *to++ = *from++;
            continue;
        }
        int high = hex(from[1]);
        int low = high < 0 ? -1 : hex(from[2]);

        if (low < 0 || high * 16 + low == 0)
            return false;
        *to++ = (char)(high * 16 + low);
        from += 3;
    }
    *to = '\0';
    return true;
}

/* Splits "/a/b%2Fc?x" into its decoded parts, which live in `copy`; their number, or -1. */
static int split(char *copy, char *parts[PARTS_MAX])
{
    char *rest = NULL;
    int n = 0;

    copy[strcspn(copy, "?")] = '\0';
    for (char *p = strtok_r(copy, "/", &rest); p != NULL; p = strtok_r(NULL, "/", &rest)) {
        if (n == PARTS_MAX || !decode_part(p))
            return -1;
        parts[n++] = p;
    }
    return n;
}

static json_t *version_json(const struct subject *sub, size_t i)
{
    return json_pack("{s:s,s:I,s:I,s:s}", "subject", sub->name, "id", (json_int_t)schema_id(sub->versions[i]),
                     "version", (json_int_t)i + 1, "schema", schema_json(sub->versions[i]));
}

static int get_schema(struct registry *r, const char *id_text, bool raw, struct bytes *out)
{
    char *end;
    unsigned long id = strtoul(id_text, &end, 10);
    const struct schema *s;

    if (!isdigit((unsigned char)id_text[0]) || *end != '\0' || id > UINT32_MAX)
        return refuse(out, 404, 404, "the id of a schema is a number");
    s = find_id(r, (uint32_t)id);
    if (s == NULL)
        return refuse(out, 404, 40403, "Schema not found");
    if (raw) {
        bytes_append(out, schema_json(s), strlen(schema_json(s)));
        return 200;
    }
    return answer(out, 200, json_pack("{s:s}", "schema", schema_json(s)));
}

static int get_version(const struct subject *sub, const char *text, struct bytes *out)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (strcmp(text, "latest") == 0 || strcmp(text, "-1") == 0)
        n = (long)sub->n;
    else if (text[0] == '\0' || *end != '\0')
        return refuse(out, 422, 42202, "a version is a number or 'latest'");
    if (n < 1 || (size_t)n > sub->n)
        return refuse(out, 404, 40402, "Version not found");
    return answer(out, 200, version_json(sub, (size_t)n - 1));
}

static int get(struct registry *r, char **part, int n, struct bytes *out)
{
    const struct subject *sub;
    json_t *list;

    if ((n == 3 || (n == 4 && strcmp(part[3], "schema") == 0)) && strcmp(part[0], "schemas") == 0 &&
        strcmp(part[1], "ids") == 0)
        return get_schema(r, part[2], n == 4, out);
    if (n == 2 && strcmp(part[0], "schemas") == 0 && strcmp(part[1], "types") == 0)
        return answer(out, 200, json_pack("[s]", "AVRO"));
    if (n >= 1 && n <= 2 && strcmp(part[0], "config") == 0)
        return answer(out, 200, json_pack("{s:s}", "compatibilityLevel", "FULL_TRANSITIVE"));
    if (n == 1 && strcmp(part[0], "subjects") == 0) {
        list = json_array();
        for (size_t i = 0; i < r->n_subjects; i++)
            json_array_append_new(list, json_string(r->subjects[i].name));
        return answer(out, 200, list);
    }
    if (n < 3 || n > 4 || strcmp(part[0], "subjects") != 0 || strcmp(part[2], "versions") != 0)
        return refuse(out, 404, 404, "HTTP 404 Not Found");
    sub = find_subject(r, part[1]);
    if (sub == NULL)
        return refuse(out, 404, 40401, "Subject not found");
    if (n == 4)
        return get_version(sub, part[3], out);
    list = json_array();
    for (size_t i = 1; i <= sub->n; i++)
        json_array_append_new(list, json_integer((json_int_t)i));
    return answer(out, 200, list);
}

/* Looks a schema up; nothing is registered over HTTP. */
static int post(struct registry *r, char **part, int n, struct view body, struct bytes *out)
{
    bool versions = n == 3 && strcmp(part[2], "versions") == 0;
    const struct subject *sub;
    json_t *j = NULL;
    struct schema *s = NULL;
    struct error err;
    const char *text;
    int http;

    if ((n != 2 && !versions) || strcmp(part[0], "subjects") != 0)
        return refuse(out, 404, 404, "HTTP 404 Not Found");
    if (json_read(body, &j, &err) != OK)
        return refuse(out, 422, 42201, err.text);
    text = json_string_value(json_object_get(j, "schema"));
    if (text == NULL || schema_parse(view_str(text), NULL, NULL, &s, &err) != OK) {
        http = refuse(out, 422, 42201, text ? err.text : "expected {\"schema\": \"...\"}");
        json_decref(j);
        return http;
    }
    json_decref(j);
    sub = find_subject(r, part[1]);
    http = 0;
    for (size_t i = 0; sub != NULL && i < sub->n && http == 0; i++)
        if (strcmp(schema_canonical(sub->versions[i]), schema_canonical(s)) == 0)
            http = answer(out, 200,
                          versions ? json_pack("{s:I}", "id", (json_int_t)schema_id(s)) : version_json(sub, i));
    if (http == 0)
        http = refuse(out, 404, 40403,
                      "Schema not found. This is a look-up only: a schema is registered by the pipeline's file, run "
                      "`millrace up` with it, or write with one that is");
    schema_free(s);
    return http;
}

int registry_http(struct registry *r, const char *method, const char *path, struct view body, struct bytes *ret_json)
{
    char *copy = xstrdup(path);
    char *parts[PARTS_MAX];
    int n = split(copy, parts);
    int http;

    if (n < 0) {
        free(copy);
        return refuse(ret_json, 404, 404, "HTTP 404 Not Found");
    }
    pthread_mutex_lock(&r->lock);
    if (strcmp(method, "GET") == 0)
        http = get(r, parts, n, ret_json);
    else if (strcmp(method, "POST") == 0)
        http = post(r, parts, n, body, ret_json);
    else
        http = refuse(ret_json, 405, 405, "HTTP 405 Method Not Allowed");
    pthread_mutex_unlock(&r->lock);
    free(copy);
    return http;
}
