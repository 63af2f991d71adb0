/* The command table, look-up by name, and the checks every command passes first. */
#include "router/resp/command.h"

#include <stdio.h>

#include "router/resp/writer.h"

#define ROW(parent_, id_, name_, arity_, first_, last_, step_, flags_, acl_, key_flags_, tips_,    \
            group_, since_, complexity_, syntax_, summary_)                                        \
    [RESP_CMD_##id_] = {                                                                           \
        .name = (name_),                                                                           \
        .id = RESP_CMD_##id_,                                                                      \
        .parent = RESP_CMD_##parent_,                                                              \
        .arity = (arity_),                                                                         \
        .first_key = (first_),                                                                     \
        .last_key = (last_),                                                                       \
        .key_step = (step_),                                                                       \
        .flags = (flags_),                                                                         \
        .acl = (acl_),                                                                             \
        .key_flags = (key_flags_),                                                                 \
        .tips = (tips_),                                                                           \
        .group = (group_),                                                                         \
        .since = (since_),                                                                         \
        .complexity = (complexity_),                                                               \
        .syntax = (syntax_),                                                                       \
        .summary = (summary_),                                                                     \
    },
#define X(id, ...) ROW(NONE, id, __VA_ARGS__)
#define S(parent, id, ...) ROW(parent, id, __VA_ARGS__)
static const struct resp_command table[RESP_CMDS] = {RESP_COMMAND_LIST(X) RESP_SUBCOMMAND_LIST(S)};
#undef S
#undef X
#undef ROW

/* Open addressing over the names of commands, filled before main and constant from then on. */
#define SLOTS 512u
#define NAME_BYTES_MAX 32u
static uint8_t slots[SLOTS];
static uint8_t name_bytes[RESP_CMDS];
static bool containers[RESP_CMDS];

_Static_assert(RESP_CMDS < 256, "an index fits a byte");
_Static_assert(RESP_CMDS * 2 < SLOTS, "the look-up table stays half empty");

static inline uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Case does not matter to the hash: every byte is taken with bit 5 set. */
static inline uint32_t name_hash(const uint8_t *p, size_t n)
{
    uint32_t h = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        h = h * 31 + (p[i] | 0x20);
    return (h ^ h >> 9) % SLOTS;
}

static bool name_equal(const char *name, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((uint8_t)name[i] != lower(p[i]))
            return false;
    }
    return true;
}

__attribute__((constructor)) static void fill_slots(void)
{
    for (uint32_t id = 1; id < RESP_CMDS; id++) {
        const char *name = table[id].name;
        uint32_t at;
        name_bytes[id] = (uint8_t)strlen(name);
        if (table[id].parent != RESP_CMD_NONE) {
            containers[table[id].parent] = true;
            continue;
        }
        at = name_hash((const uint8_t *)name, name_bytes[id]);
        while (slots[at] != 0)
            at = (at + 1) % SLOTS;
        slots[at] = (uint8_t)id;
    }
}

const struct resp_command *resp_command_find(struct fb_bytes name)
{
    if (name.n == 0 || name.n > NAME_BYTES_MAX)
        return NULL;
    for (uint32_t at = name_hash(name.p, name.n); slots[at] != 0; at = (at + 1) % SLOTS) {
        uint8_t id = slots[at];
        if (name_bytes[id] == name.n && name_equal(table[id].name, name.p, name.n))
            return &table[id];
    }
    return NULL;
}

const struct resp_command *resp_subcommand_find(const struct resp_command *container,
                                                struct fb_bytes name)
{
    size_t skip = strlen(container->name) + 1;
    if (!resp_command_is_container(container))
        return NULL;
    for (uint32_t id = 1; id < RESP_CMDS; id++) {
        if (table[id].parent == container->id && name_bytes[id] == skip + name.n &&
            name_equal(table[id].name + skip, name.p, name.n))
            return &table[id];
    }
    return NULL;
}

const struct resp_command *resp_command_row(enum resp_cmd id)
{
    fb_assert(id > RESP_CMD_NONE && id < RESP_CMDS);
    return &table[id];
}

bool resp_command_is_container(const struct resp_command *c)
{
    return containers[c->id];
}

/* As printf's "%.*s" of a C string: stops at NUL, so do the names in Redis's messages. */
static int text_bytes(struct fb_bytes v, size_t max)
{
    return (int)(v.n < max ? v.n : max);
}

static void put_unknown_command(struct fb_buf *out, const struct fb_bytes *argv, uint32_t argc)
{
    char args[256];
    size_t n = 0;
    args[0] = 0;
    for (uint32_t i = 1; i < argc && n < 128; i++) {
        int r = snprintf(args + n, sizeof(args) - n, "'%.*s' ", text_bytes(argv[i], 128 - n),
                         argv[i].n ? (const char *)argv[i].p : "");
        fb_assert(r > 0);
        n += (size_t)r;
    }
    resp_put_errorf(out, "ERR unknown command '%.*s', with args beginning with: %s",
                    text_bytes(argv[0], 128), argv[0].n ? (const char *)argv[0].p : "", args);
}

static void put_unknown_subcommand(struct fb_buf *out, const struct resp_command *c,
                                   struct fb_bytes name)
{
    char upper[NAME_BYTES_MAX + 1];
    size_t n = strlen(c->name);
    for (size_t i = 0; i < n; i++)
        upper[i] = (char)(c->name[i] >= 'a' && c->name[i] <= 'z' ? c->name[i] - 32 : c->name[i]);
    upper[n] = 0;
    resp_put_errorf(out, "ERR unknown subcommand '%.*s'. Try %s HELP.", text_bytes(name, 128),
                    name.n ? (const char *)name.p : "", upper);
}

const struct resp_command *resp_command_resolve(struct fb_buf *out, const struct fb_bytes *argv,
                                                uint32_t argc)
{
    const struct resp_command *c = resp_command_find(argv[0]);
    if (FB_UNLIKELY(c == NULL)) {
        put_unknown_command(out, argv, argc);
        return NULL;
    }
    if (FB_UNLIKELY(containers[c->id]) && argc > 1) {
        const struct resp_command *sub = resp_subcommand_find(c, argv[1]);
        if (sub == NULL) {
            put_unknown_subcommand(out, c, argv[1]);
            return NULL;
        }
        c = sub;
    }
    if (FB_UNLIKELY(c->arity >= 0 ? argc != (uint32_t)c->arity : argc < (uint32_t)-c->arity)) {
        resp_put_errorf(out, "%s wrong number of arguments for '%s' command",
                        c->id == RESP_CMD_EXEC ? "EXECABORT Transaction discarded because of:"
                                               : "ERR",
                        c->name);
        return NULL;
    }
    return c;
}
