/* common/wire/registry.h */
/*
 * registry: every schema this process knows, by id, fingerprint and subject ("<topic>-value").
 *
 * Owner    it owns the schemas; a pointer that was found lives as long as the registry.
 * Errors   a second schema with the same id but another canonical form is ERR_RECORD; nothing changes.
 * Threads  safe: the loop adds, HTTP threads look up.
 */
#ifndef WIRE_REGISTRY_H
#define WIRE_REGISTRY_H

#include "wire/schema.h"

struct registry;

struct registry *registry_new(void);
void registry_free(struct registry *r);

/* Parses and keeps. The same schema again is OK. subject and ret_schema may be NULL. */
enum status registry_add(struct registry *r, const char *subject, struct view schema_text,
                         const struct schema **ret_schema, struct error *err);
const struct schema *registry_by_id(struct registry *r, uint32_t id);
const struct schema *registry_by_fingerprint(struct registry *r, uint64_t fingerprint);
/* The latest of a subject, or NULL. */
const struct schema *registry_latest(struct registry *r, const char *subject);

/* Answers a schema registry's HTTP call from what is known. method "GET" or "POST"; body may be empty.
 * Appends the JSON answer and returns the HTTP status (404 with Confluent's error_code 40403, ...). */
int registry_http(struct registry *r, const char *method, const char *path, struct view body, struct bytes *ret_json);

#endif
