/* Would PostgreSQL 15 take this text as a value of the type? Input rules of the types, one function
 * each. Where PostgreSQL takes an odd spelling that nobody writes (blank inside of an exponent,
 * hexadecimal floats), these refuse: a refusal changes nothing, an acknowledged value that
 * PostgreSQL refuses is parked. Pure. Private to proto/cluster. */
#ifndef FB_PROTO_CLUSTER_TYPE_INPUT_H_
#define FB_PROTO_CLUSTER_TYPE_INPUT_H_

#include "proto/base/bytes.h"

enum fb_input {
    FB_INPUT_OK,
    FB_INPUT_SYNTAX, /* not of this form */
    FB_INPUT_RANGE,  /* of the form, but too large or too precise */
};

/* Signed integer of `bits` bits with blanks around it and a sign. */
enum fb_input fb_input_int(struct fb_bytes s, unsigned bits);
/* precision -1: any numeric. Rounds to scale before it judges, as PostgreSQL does. */
enum fb_input fb_input_numeric(struct fb_bytes s, int32_t precision, int32_t scale);
enum fb_input fb_input_float(struct fb_bytes s, bool single);
enum fb_input fb_input_bool(struct fb_bytes s);
enum fb_input fb_input_uuid(struct fb_bytes s);
enum fb_input fb_input_bytea(struct fb_bytes s);
/* Year, month and day with dashes or as eight digits, or infinity: the forms every DateStyle reads
 * alike. Month names, two-digit years, times of day and words such as "today" are refused. */
enum fb_input fb_input_date(struct fb_bytes s);
/* RFC 8259; `binary` (jsonb) also refuses \u0000, lone surrogates and numbers beyond numeric. *why:
 * static storage. */
enum fb_input fb_input_json(struct fb_bytes s, bool binary, const char **why);

/* Byte-equal to PostgreSQL's output? */
bool fb_canonical_int(struct fb_bytes s);
bool fb_canonical_uuid(struct fb_bytes s);
bool fb_canonical_date(struct fb_bytes s);

#endif
