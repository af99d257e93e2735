/* test/unit/test_registry.c: schemas by id and subject, and the answers Confluent's clients expect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/attr.h"
#include "wire/registry.h"

#define V1 "{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"}]}"
#define V2 "{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},{\"name\":\"b\",\"type\":\"int\",\"default\":0}]}"

static void schemas_are_found_by_id_fingerprint_and_subject(void **state)
{
    struct registry *r = registry_new();
    const struct schema *a, *b, *again;
    struct error err;

    (void)state;
    assert_int_equal(registry_add(r, "t-value", view_str(V1), &a, &err), OK);
    assert_int_equal(registry_add(r, NULL, view_str(V2), &b, &err), OK);
    assert_ptr_equal(registry_latest(r, "t-value"), a);
    assert_int_equal(registry_add(r, "t-value", view_str(V2), &again, &err), OK);
    assert_ptr_equal(again, b);
    assert_ptr_equal(registry_latest(r, "t-value"), b);
    assert_ptr_equal(registry_by_id(r, schema_id(a)), a);
    assert_ptr_equal(registry_by_fingerprint(r, schema_fingerprint(b)), b);
    assert_null(registry_by_id(r, schema_id(a) + 1));
    assert_null(registry_latest(r, "u-value"));
    assert_int_equal(registry_add(r, NULL, view_str("{}"), &a, &err), ERR_RECORD);
    registry_free(r);
}

static void http_answers_are_those_of_a_schema_registry(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int http;
        const char *want;
    } cases[] = {
        {"GET", "/schemas/ids/%u", "", 200, "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"T\\\""},
        {"GET", "/schemas/ids/%u?subject=t-value&fetchMaxId=false", "", 200, "{\"schema\":\"{"},
        {"GET", "/schemas/ids/%u/schema", "", 200, "{\"type\":\"record\""},
        {"GET", "/schemas/ids/5", "", 404, "{\"error_code\":40403,"},
        {"GET", "/schemas/ids/x", "", 404, "{\"error_code\":404,"},
        {"GET", "/schemas/types", "", 200, "[\"AVRO\"]"},
        {"GET", "/subjects", "", 200, "[\"t-value\"]"},
        {"GET", "/subjects/t-value/versions", "", 200, "[1,2]"},
        {"GET", "/subjects/%%74-value/versions/", "", 200, "[1,2]"},
        {"GET", "/subjects/t-value/versions/1", "", 200, "{\"subject\":\"t-value\",\"id\":"},
        {"GET", "/subjects/t-value/versions/latest", "", 200, "{\"subject\":\"t-value\",\"id\":"},
        {"GET", "/subjects/t-value/versions/3", "", 404, "{\"error_code\":40402,"},
        {"GET", "/subjects/t-value/versions/x", "", 422, "{\"error_code\":42202,"},
        {"GET", "/subjects/u-value/versions", "", 404, "{\"error_code\":40401,"},
        {"GET", "/config", "", 200, "{\"compatibilityLevel\":\"FULL_TRANSITIVE\"}"},
        {"GET", "/config/t-value?defaultToGlobal=true", "", 200, "{\"compatibilityLevel\":\"FULL_TRANSITIVE\"}"},
        {"GET", "/a/b/c/d/e/f/g", "", 404, "{\"error_code\":404,"},
        {"GET", "/subjects/%%0", "", 404, "{\"error_code\":404,"},
        {"GET", "", "", 404, "{\"error_code\":404,"},
        {"DELETE", "/subjects/t-value", "", 405, "{\"error_code\":405,"},
        {"POST", "/subjects/t-value/versions?normalize=false", "{\"schema\":\"{\\\"name\\\":\\\"T\\\",\\\"type\\\":\\\"record\\\","
         "\\\"fields\\\":[{\\\"type\\\":{\\\"type\\\":\\\"long\\\"},\\\"name\\\":\\\"a\\\"}]}\"}", 200, "{\"id\":"},
        {"POST", "/subjects/t-value", "{\"schema\":\"{\\\"name\\\":\\\"T\\\",\\\"type\\\":\\\"record\\\","
         "\\\"fields\\\":[{\\\"type\\\":\\\"long\\\",\\\"name\\\":\\\"a\\\"}]}\"}", 200, "{\"subject\":\"t-value\",\"id\":"},
        {"POST", "/subjects/t-value/versions", "{\"schema\":\"\\\"long\\\"\"}", 404, "{\"error_code\":40403,"},
        {"POST", "/subjects/u-value/versions", "{\"schema\":\"\\\"long\\\"\"}", 404, "{\"error_code\":40403,"},
        {"POST", "/subjects/t-value/versions", "{\"schema\":\"\\\"lnog\\\"\"}", 422, "{\"error_code\":42201,"},
        {"POST", "/subjects/t-value/versions", "{", 422, "{\"error_code\":42201,"},
        {"POST", "/subjects/t-value/versions", "[]", 422, "{\"error_code\":42201,"},
        {"POST", "/subjects", "{}", 404, "{\"error_code\":404,"},
    };
    struct registry *r = registry_new();
    const struct schema *a, *b;
    struct error err;

    (void)state;
    assert_int_equal(registry_add(r, "t-value", view_str(V1), &a, &err), OK);
    assert_int_equal(registry_add(r, "t-value", view_str(V2), &b, &err), OK);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes out = BYTES_EMPTY;
        char path[128] = "";
        const char *mark = strstr(cases[i].path, "%u");
        json_t *j = NULL;
        int http;

        if (mark != NULL)
            snprintf(path, sizeof(path), "%.*s%u%s", (int)(mark - cases[i].path), cases[i].path, schema_id(a), mark + 2);
        else
            for (size_t k = 0, n = 0; cases[i].path[k] != '\0'; k++)
                if (cases[i].path[k] != '%' || cases[i].path[k + 1] != '%')
                    path[n++] = cases[i].path[k];
        http = registry_http(r, cases[i].method, path, view_str(cases[i].body), &out);
        bytes_append(&out, "", 1);
        if (http != cases[i].http || strncmp((char *)out.data, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("%s %s: want %d %s, got %d %s", cases[i].method, path, cases[i].http, cases[i].want, http,
                     (char *)out.data);
        assert_int_equal(json_read(view_of(out.data, out.n - 1), &j, &err), OK);
        json_decref(j);
        bytes_done(&out);
    }
    registry_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schemas_are_found_by_id_fingerprint_and_subject),
        cmocka_unit_test(http_answers_are_those_of_a_schema_registry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
