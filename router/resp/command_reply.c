/* COMMAND and its subcommands. */
#include <strings.h>

#include "proto/base/glob.h"
#include "router/resp/command.h"
#include "router/resp/writer.h"

static const char *const flag_names[] = {
#define X(name, text) text,
    RESP_FLAG_LIST(X)
#undef X
};
static const char *const acl_names[] = {
#define X(name, text) "@" text,
    RESP_ACL_LIST(X)
#undef X
};

static void put_simple_set(struct fb_buf *out, int proto, uint32_t bits, const char *const *names,
                           size_t n)
{
    resp_put_set(out, proto, (size_t)__builtin_popcount(bits));
    for (size_t i = 0; i < n; i++) {
        if (bits & 1u << i)
            resp_put_simple(out, names[i]);
    }
}

/* Next word of a list separated by spaces. */
static bool next_word(const char **rest, struct fb_bytes *word)
{
    const char *p = *rest, *end;
    if (*p == 0)
        return false;
    end = strchr(p, ' ');
    *word = end != NULL ? fb_bytes(p, (size_t)(end - p)) : fb_bytes_str(p);
    *rest = end != NULL ? end + 1 : p + word->n;
    return true;
}

static size_t count_words(const char *s)
{
    struct fb_bytes w;
    size_t n = 0;
    while (next_word(&s, &w))
        n++;
    return n;
}

/* Remarks that Redis makes on the keys of two commands. */
static const char *key_notes(const struct resp_command *c)
{
    if (c->id == RESP_CMD_SET)
        return "RW and ACCESS due to the optional `GET` argument";
    return c->id == RESP_CMD_GETEX ? "RW and UPDATE because it changes the TTL" : NULL;
}

/* Every command of the table has at most one run of keys, at a fixed place. */
static void put_key_specs(struct fb_buf *out, int proto, const struct resp_command *c)
{
    const char *rest = c->key_flags;
    struct fb_bytes word;
    resp_put_set(out, proto, c->first_key > 0);
    if (c->first_key == 0)
        return;
    resp_put_map(out, proto, key_notes(c) != NULL ? 4 : 3);
    if (key_notes(c) != NULL) {
        resp_put_bulk_str(out, "notes");
        resp_put_bulk_str(out, key_notes(c));
    }
    resp_put_bulk_str(out, "flags");
    resp_put_set(out, proto, count_words(c->key_flags));
    while (next_word(&rest, &word)) {
        fb_buf_put_u8(out, '+');
        fb_buf_put_bytes(out, word);
        fb_buf_put(out, "\r\n", 2);
    }
    resp_put_bulk_str(out, "begin_search");
    resp_put_map(out, proto, 2);
    resp_put_bulk_str(out, "type");
    resp_put_bulk_str(out, "index");
    resp_put_bulk_str(out, "spec");
    resp_put_map(out, proto, 1);
    resp_put_bulk_str(out, "index");
    resp_put_int(out, c->first_key);
    resp_put_bulk_str(out, "find_keys");
    resp_put_map(out, proto, 2);
    resp_put_bulk_str(out, "type");
    resp_put_bulk_str(out, "range");
    resp_put_bulk_str(out, "spec");
    resp_put_map(out, proto, 3);
    resp_put_bulk_str(out, "lastkey");
    resp_put_int(out, c->last_key < 0 ? c->last_key : c->last_key - c->first_key);
    resp_put_bulk_str(out, "keystep");
    resp_put_int(out, c->key_step);
    resp_put_bulk_str(out, "limit");
    resp_put_int(out, 0);
}

static size_t count_subcommands(const struct resp_command *c)
{
    size_t n = 0;
    for (int id = 1; id < RESP_CMDS; id++)
        n += resp_command_row((enum resp_cmd)id)->parent == c->id;
    return n;
}

static void put_info(struct fb_buf *out, int proto, const struct resp_command *c)
{
    const char *rest = c->tips;
    struct fb_bytes word;
    resp_put_array(out, 10);
    resp_put_bulk_str(out, c->name);
    resp_put_int(out, c->arity);
    put_simple_set(out, proto, c->flags, flag_names, FB_COUNT_OF(flag_names));
    resp_put_int(out, c->first_key);
    resp_put_int(out, c->last_key);
    resp_put_int(out, c->key_step);
    put_simple_set(out, proto, c->acl, acl_names, FB_COUNT_OF(acl_names));
    resp_put_set(out, proto, count_words(c->tips));
    while (next_word(&rest, &word))
        resp_put_bulk(out, word);
    put_key_specs(out, proto, c);
    /* Redis says array where it has subcommands and an empty set where not */
    if (!resp_command_is_container(c)) {
        resp_put_set(out, proto, 0);
        return;
    }
    resp_put_array(out, count_subcommands(c));
    for (int id = 1; id < RESP_CMDS; id++) {
        const struct resp_command *sub = resp_command_row((enum resp_cmd)id);
        if (sub->parent == c->id)
            put_info(out, proto, sub);
    }
}

static void put_docs(struct fb_buf *out, int proto, const struct resp_command *c)
{
    bool container = resp_command_is_container(c);
    resp_put_bulk_str(out, c->name);
    resp_put_map(out, proto, 3 + (c->complexity[0] != 0) + container);
    resp_put_bulk_str(out, "summary");
    resp_put_bulk_str(out, c->summary);
    resp_put_bulk_str(out, "since");
    resp_put_bulk_str(out, c->since);
    resp_put_bulk_str(out, "group");
    resp_put_bulk_str(out, c->group);
    if (c->complexity[0] != 0) {
        resp_put_bulk_str(out, "complexity");
        resp_put_bulk_str(out, c->complexity);
    }
    if (!container)
        return;
    resp_put_bulk_str(out, "subcommands");
    resp_put_map(out, proto, count_subcommands(c));
    for (int id = 1; id < RESP_CMDS; id++) {
        const struct resp_command *sub = resp_command_row((enum resp_cmd)id);
        if (sub->parent == c->id)
            put_docs(out, proto, sub);
    }
}

/* "client|setname" names a subcommand in the arguments of COMMAND INFO and DOCS. */
static const struct resp_command *find_full(struct fb_bytes name)
{
    const uint8_t *bar = name.n ? memchr(name.p, '|', name.n) : NULL;
    const struct resp_command *c;
    if (bar == NULL)
        return resp_command_find(name);
    c = resp_command_find(fb_bytes(name.p, (size_t)(bar - name.p)));
    return c == NULL
               ? NULL
               : resp_subcommand_find(c, fb_bytes(bar + 1, name.n - (size_t)(bar - name.p) - 1));
}

static size_t count_top(void)
{
    size_t n = 0;
    for (int id = 1; id < RESP_CMDS; id++)
        n += resp_command_row((enum resp_cmd)id)->parent == RESP_CMD_NONE;
    return n;
}

static void reply_info(struct fb_buf *out, int proto, const struct fb_bytes *names, uint32_t n)
{
    resp_put_array(out, n > 0 ? n : count_top());
    for (uint32_t i = 0; i < n; i++) {
        const struct resp_command *c = find_full(names[i]);
        if (c == NULL)
            resp_put_null(out, proto);
        else
            put_info(out, proto, c);
    }
    for (int id = 1; n == 0 && id < RESP_CMDS; id++) {
        const struct resp_command *c = resp_command_row((enum resp_cmd)id);
        if (c->parent == RESP_CMD_NONE)
            put_info(out, proto, c);
    }
}

static void reply_docs(struct fb_buf *out, int proto, const struct fb_bytes *names, uint32_t n)
{
    size_t found = 0;
    for (uint32_t i = 0; i < n; i++)
        found += find_full(names[i]) != NULL;
    resp_put_map(out, proto, n > 0 ? found : count_top());
    for (uint32_t i = 0; i < n; i++) {
        const struct resp_command *c = find_full(names[i]);
        if (c != NULL)
            put_docs(out, proto, c);
    }
    for (int id = 1; n == 0 && id < RESP_CMDS; id++) {
        const struct resp_command *c = resp_command_row((enum resp_cmd)id);
        if (c->parent == RESP_CMD_NONE)
            put_docs(out, proto, c);
    }
}

static bool same_word(struct fb_bytes v, const char *word)
{
    return v.n == strlen(word) && strncasecmp((const char *)v.p, word, v.n) == 0;
}

enum list_filter { LIST_ALL, LIST_ACLCAT, LIST_PATTERN, LIST_MODULE };

static bool list_match(const struct resp_command *c, enum list_filter filter, struct fb_bytes arg)
{
    switch (filter) {
    case LIST_ALL:
        return true;
    case LIST_ACLCAT:
        for (size_t i = 0; i < FB_COUNT_OF(acl_names); i++) {
            if (c->acl & 1u << i && same_word(arg, acl_names[i] + 1))
                return true;
        }
        return false;
    case LIST_PATTERN: {
        /* case does not matter in names: the pattern is matched in lower case */
        uint8_t low[128];
        if (arg.n > sizeof(low))
            return false;
        for (size_t i = 0; i < arg.n; i++)
            low[i] = arg.p[i] >= 'A' && arg.p[i] <= 'Z' ? (uint8_t)(arg.p[i] | 0x20) : arg.p[i];
        return fb_glob_match(fb_bytes(low, arg.n), fb_bytes_str(c->name));
    }
    case LIST_MODULE:
        return false; /* there are none */
    }
    return false;
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN glob] */
static void reply_list(struct fb_buf *out, int proto, const struct fb_bytes *argv, uint32_t argc)
{
    enum list_filter filter = LIST_ALL;
    struct fb_bytes arg = fb_bytes("", 0);
    size_t n = 0;
    if (argc == 5 && same_word(argv[2], "filterby")) {
        arg = argv[4];
        if (same_word(argv[3], "module"))
            filter = LIST_MODULE;
        else if (same_word(argv[3], "aclcat"))
            filter = LIST_ACLCAT;
        else if (same_word(argv[3], "pattern"))
            filter = LIST_PATTERN;
    }
    if (argc > 2 && filter == LIST_ALL) {
        resp_put_error(out, fb_bytes_str("ERR syntax error"));
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            filter == LIST_ALL ? resp_put_set(out, proto, n) : resp_put_array(out, n);
        for (int id = 1; id < RESP_CMDS; id++) {
            const struct resp_command *c = resp_command_row((enum resp_cmd)id);
            /* like Redis: all names without subcommands when there is no filter */
            if ((filter == LIST_ALL && c->parent != RESP_CMD_NONE) || !list_match(c, filter, arg))
                continue;
            if (pass == 0)
                n++;
            else
                resp_put_bulk_str(out, c->name);
        }
    }
}

static void reply_getkeys(struct fb_buf *out, const struct fb_bytes *argv, uint32_t argc)
{
    const struct resp_command *c = resp_command_find(argv[0]);
    uint32_t last;
    if (c != NULL && resp_command_is_container(c) && argc > 1)
        c = resp_subcommand_find(c, argv[1]);
    if (c == NULL) {
        resp_put_error(out, fb_bytes_str("ERR Invalid command specified"));
        return;
    }
    if (c->first_key == 0) {
        resp_put_error(out, fb_bytes_str("ERR The command has no key arguments"));
        return;
    }
    if (c->arity >= 0 ? argc != (uint32_t)c->arity : argc < (uint32_t)-c->arity) {
        resp_put_error(out, fb_bytes_str("ERR Invalid number of arguments specified for command"));
        return;
    }
    last = c->last_key < 0 ? argc - (uint32_t)-c->last_key : (uint32_t)c->last_key;
    resp_put_array(out, (last - (uint32_t)c->first_key) / (uint32_t)c->key_step + 1);
    for (uint32_t i = (uint32_t)c->first_key; i <= last; i += (uint32_t)c->key_step)
        resp_put_bulk(out, argv[i]);
}

void resp_command_reply(struct fb_buf *out, int proto, const struct fb_bytes *argv, uint32_t argc)
{
    const struct resp_command *c = resp_command_row(RESP_CMD_COMMAND);
    if (argc > 1)
        c = resp_subcommand_find(c, argv[1]);
    fb_assert(c != NULL);
    switch (c->id) {
    case RESP_CMD_COMMAND:
        reply_info(out, proto, NULL, 0);
        break;
    case RESP_CMD_COMMAND_COUNT:
        resp_put_int(out, (int64_t)count_top());
        break;
    case RESP_CMD_COMMAND_INFO:
        reply_info(out, proto, argv + 2, argc - 2);
        break;
    case RESP_CMD_COMMAND_DOCS:
        reply_docs(out, proto, argv + 2, argc - 2);
        break;
    case RESP_CMD_COMMAND_LIST:
        reply_list(out, proto, argv, argc);
        break;
    case RESP_CMD_COMMAND_GETKEYS:
        reply_getkeys(out, argv + 2, argc - 2);
        break;
    default:
        resp_command_help(out, resp_command_row(RESP_CMD_COMMAND));
    }
}
