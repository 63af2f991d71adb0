/* Requests of clients: incremental parser of RESP multibulk and inline commands. Pure.
 *
 * The caller owns the input buffer. It calls resp_parse with the bytes not yet consumed, drops
 * `*used` bytes afterwards, and calls again when RESP_PARSE_COMMAND was answered or more bytes
 * came. Between calls the unconsumed bytes may move in memory but must stay the same: the parser
 * remembers offsets and never looks at a byte twice.
 */
#ifndef FB_ROUTER_RESP_PARSER_H_
#define FB_ROUTER_RESP_PARSER_H_

#include "proto/base/buf.h"

#define RESP_COMMAND_BYTES_MAX (16u << 20) /* one whole command, framing included */
#define RESP_ARGS_MAX (1u << 20)
#define RESP_INLINE_BYTES_MAX (64u << 10) /* an inline command, and the digits after * and $ */

enum resp_parse {
    RESP_PARSE_MORE,    /* incomplete: come again with more bytes */
    RESP_PARSE_COMMAND, /* argc >= 1 arguments in argv */
    RESP_PARSE_ERROR,   /* write resp_parser_error() as an error reply, then close the connection */
};

/* One for each connection; its thread only. */
struct resp_parser {
    struct fb_bytes *argv; /* after RESP_PARSE_COMMAND: views, valid until the next call or until
                              the input moves */
    uint32_t argc;
    uint32_t argv_cap;
    /* private */
    uint32_t args_left;     /* of the multibulk command under way; 0 between commands */
    int64_t bulk_bytes;     /* length of the bulk under way, -1 when its header is not read yet */
    size_t pos;             /* offset of the first byte not parsed yet */
    size_t scan;            /* offset up to which no line end was found */
    bool complete;          /* the last call gave a command: the next one begins anew */
    struct fb_buf unquoted; /* arguments of inline commands, which may be quoted */
    char error[96];
};

void resp_parser_init(struct resp_parser *p);
void resp_parser_fini(struct resp_parser *p);

/* Parse one command off buf[0..n). `*used` says how many bytes at the front are done with: all of
 * the command, and empty commands before it. The views in argv point into buf (multibulk) or into
 * the parser (inline). No allocation once argv has grown to the widest usual command; a rare wide
 * one is given back with the next command.
 */
FB_MUST_USE enum resp_parse resp_parse(struct resp_parser *p, const uint8_t *buf, size_t n,
                                       size_t *used);

/* After RESP_PARSE_ERROR: text without '-' and CRLF, "ERR Protocol error: ...". Owned by the
 * parser. */
const char *resp_parser_error(const struct resp_parser *p);

/* How many bytes the command under way is known to need still, at least 1; a hint for sizing the
 * next read. */
size_t resp_parser_wants(const struct resp_parser *p, size_t n);

#endif
