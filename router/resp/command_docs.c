/* What people read of the table: HELP and the markdown document. */
#include <ctype.h>

#include "router/resp/command.h"
#include "router/resp/command_answers.h"
#include "router/resp/writer.h"

static const struct answer {
    const char *types, *differs;
} answers[RESP_CMDS] = {
#define X(id, types, differs) [RESP_CMD_##id] = {types, differs},
    RESP_ANSWER_LIST(X)
#undef X
};

/* A command without a row there is an identifier that does not exist here. */
enum {
#define X(id, ...) ANSWER_OF_##id,
    RESP_ANSWER_LIST(X)
#undef X
        ANSWERS
};
#define X(id, ...) _Static_assert(ANSWER_OF_##id < ANSWERS, "command_answers.h has no row " #id);
RESP_COMMAND_LIST(X)
#undef X
#define X(parent, id, ...)                                                                         \
    _Static_assert(ANSWER_OF_##id < ANSWERS, "command_answers.h has no row " #id);
RESP_SUBCOMMAND_LIST(X)
#undef X

static void put_upper(struct fb_buf *out, const char *s)
{
    for (; *s != 0; s++)
        fb_buf_put_u8(out, (uint8_t)toupper((unsigned char)*s));
}

/* "SETNAME connection-name" as one simple string */
static void put_help_line(struct fb_buf *out, const char *name, const char *syntax)
{
    fb_buf_put_u8(out, '+');
    put_upper(out, name);
    if (syntax[0] != 0) {
        fb_buf_put_u8(out, ' ');
        fb_buf_put_str(out, syntax);
    }
    fb_buf_put(out, "\r\n", 2);
}

void resp_command_help(struct fb_buf *out, const struct resp_command *container)
{
    size_t skip = strlen(container->name) + 1, lines = 1;
    fb_assert(resp_command_is_container(container));
    for (int id = 1; id < RESP_CMDS; id++)
        lines += resp_command_row((enum resp_cmd)id)->parent == container->id ? 2 : 0;
    resp_put_array(out, lines);
    fb_buf_put_u8(out, '+');
    put_upper(out, container->name);
    fb_buf_put_str(out, " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n");
    for (int id = 1; id < RESP_CMDS; id++) {
        const struct resp_command *c = resp_command_row((enum resp_cmd)id);
        if (c->parent != container->id)
            continue;
        put_help_line(out, c->name + skip, c->syntax);
        fb_buf_put_str(out, "+    ");
        fb_buf_put_str(out, c->id == RESP_CMD_CLIENT_HELP || c->id == RESP_CMD_COMMAND_HELP ||
                                    c->id == RESP_CMD_CONFIG_HELP
                                ? "Print this help."
                                : c->summary);
        fb_buf_put(out, "\r\n", 2);
    }
}

/* Text of a table cell: '|' would end it. */
static void put_cell(struct fb_buf *out, const char *s)
{
    for (; *s != 0; s++) {
        if (*s == '|')
            fb_buf_put_u8(out, '\\');
        fb_buf_put_u8(out, (uint8_t)*s);
    }
}

static void put_name(struct fb_buf *out, const struct resp_command *c)
{
    for (const char *p = c->name; *p != 0; p++)
        fb_buf_put_u8(out, *p == '|' ? ' ' : (uint8_t)toupper((unsigned char)*p));
}

/* How it is called, and what comes back. */
static void put_row(struct fb_buf *out, const struct resp_command *c)
{
    fb_buf_put_str(out, "| `");
    put_name(out, c);
    if (c->syntax[0] != 0) {
        fb_buf_put_u8(out, ' ');
        put_cell(out, c->syntax);
    }
    fb_buf_put_str(out, "` | ");
    put_cell(out, c->summary);
    fb_buf_printf(out, " | %s | %s |\n", answers[c->id].types, answers[c->id].differs);
}

static void put_flags(struct fb_buf *out, uint32_t flags)
{
    static const char *const names[] = {
#define X(name, text) text,
        RESP_FLAG_LIST(X)
#undef X
    };
    for (size_t i = 0, n = 0; i < FB_COUNT_OF(names); i++)
        if (flags & 1u << i)
            fb_buf_printf(out, "%s%s", n++ ? " " : "", names[i]);
}

/* What COMMAND INFO says of it. */
static void put_facts(struct fb_buf *out, const struct resp_command *c)
{
    fb_buf_put_str(out, "| `");
    put_name(out, c);
    fb_buf_printf(out, "` | %d | ", c->arity);
    put_flags(out, c->flags);
    fb_buf_printf(out, " | %d %d %d | ", c->first_key, c->last_key, c->key_step);
    put_cell(out, c->complexity);
    fb_buf_printf(out, " | %s |\n", c->since);
}

/* A container's own row says nothing where only its subcommands can be called. */
static bool has_row(const struct resp_command *c)
{
    return !resp_command_is_container(c) || c->arity == -1;
}

void resp_commands_markdown(struct fb_buf *out)
{
    bool done[RESP_CMDS] = {false};
    fb_buf_put_str(out, "# Commands\n\nGenerated from the command table of the router. \"Since\" "
                        "is the version of Redis "
                        "that brought a command,\nof Forebay for those that begin with FB.\n");
    for (int id = 1; id < RESP_CMDS; id++) {
        const char *group = resp_command_row((enum resp_cmd)id)->group;
        if (done[id])
            continue;
        fb_buf_put_str(out, "\n## ");
        fb_buf_put_u8(out, (uint8_t)toupper((unsigned char)group[0]));
        fb_buf_put_str(out, group + 1);
        fb_buf_put_str(out, "\n\n| command | what it does | replies with | not as in Redis "
                            "|\n|---|---|---|---|\n");
        for (int other = id; other < RESP_CMDS; other++) {
            const struct resp_command *c = resp_command_row((enum resp_cmd)other);
            if (strcmp(c->group, group) != 0)
                continue;
            done[other] = true;
            if (has_row(c))
                put_row(out, c);
        }
    }
    fb_buf_put_str(out,
                   "\n## Arity, flags, keys\n\nAs COMMAND INFO gives them. Arity counts the name; "
                   "below 0: at least so many. Keys: first, last, step.\n\n"
                   "| command | arity | flags | keys | time | since "
                   "|\n|---|---|---|---|---|---|\n");
    for (int id = 1; id < RESP_CMDS; id++)
        put_facts(out, resp_command_row((enum resp_cmd)id));
}
