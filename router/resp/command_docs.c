/* What people read of the table: HELP and the markdown document. */
#include <ctype.h>

#include "router/resp/command.h"
#include "router/resp/writer.h"

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

static void put_row(struct fb_buf *out, const struct resp_command *c)
{
    fb_buf_put_str(out, "| `");
    for (const char *p = c->name; *p != 0; p++)
        fb_buf_put_u8(out, *p == '|' ? ' ' : (uint8_t)toupper((unsigned char)*p));
    if (c->syntax[0] != 0) {
        fb_buf_put_u8(out, ' ');
        put_cell(out, c->syntax);
    }
    fb_buf_put_str(out, "` | ");
    put_cell(out, c->summary);
    fb_buf_put_str(out, " | ");
    put_cell(out, c->complexity);
    fb_buf_put_str(out, " | ");
    fb_buf_put_str(out, c->since);
    fb_buf_put_str(out, " |\n");
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
        fb_buf_put_str(out, "\n\n| command | what it does | time | since |\n|---|---|---|---|\n");
        for (int other = id; other < RESP_CMDS; other++) {
            const struct resp_command *c = resp_command_row((enum resp_cmd)other);
            if (strcmp(c->group, group) != 0)
                continue;
            done[other] = true;
            if (has_row(c))
                put_row(out, c);
        }
    }
}
