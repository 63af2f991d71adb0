/* The one table of commands: arity checks, COMMAND, and the documentation are made from it (rows:
 * command_list.h). Pure. */
#ifndef FB_ROUTER_RESP_COMMAND_H_
#define FB_ROUTER_RESP_COMMAND_H_

#include "proto/base/buf.h"
#include "router/resp/command_list.h"

enum resp_cmd {
    RESP_CMD_NONE,
#define X(id, ...) RESP_CMD_##id,
    RESP_COMMAND_LIST(X)
#undef X
#define X(parent, id, ...) RESP_CMD_##id,
        RESP_SUBCOMMAND_LIST(X)
#undef X
            RESP_CMDS /* how many, with NONE */
};

struct resp_command {
    const char *name; /* lower case; of a subcommand "client|setname" */
    uint16_t id;      /* enum resp_cmd */
    uint16_t parent;  /* enum resp_cmd of the container, or NONE */
    int16_t arity;    /* arguments with the name; negative: at least so many */
    int16_t first_key, last_key, key_step;
    uint32_t flags;        /* enum resp_command_flag */
    uint32_t acl;          /* enum resp_acl */
    const char *key_flags; /* "RW ACCESS UPDATE", of the key specification; "" without keys */
    const char *tips;      /* command tips, separated by spaces; "" none */
    const char *group;
    const char *since;
    const char *complexity; /* "" where Redis gives none */
    const char *syntax;     /* of the arguments, for people; "" none */
    const char *summary;
};

/* Row of a name in any case; NULL when there is none. Subcommands are not found here. */
const struct resp_command *resp_command_find(struct fb_bytes name);
const struct resp_command *resp_subcommand_find(const struct resp_command *container,
                                                struct fb_bytes name);
const struct resp_command *resp_command_row(enum resp_cmd id);
bool resp_command_is_container(const struct resp_command *c);

/* Find the row for argv and check the number of arguments. NULL: the error reply was appended to
 * `out` (unknown command, unknown subcommand, wrong number of arguments), in Redis's words.
 */
const struct resp_command *resp_command_resolve(struct fb_buf *out, const struct fb_bytes *argv,
                                                uint32_t argc);

/* Reply of COMMAND and its subcommands; argv has passed resp_command_resolve. */
void resp_command_reply(struct fb_buf *out, int proto, const struct fb_bytes *argv, uint32_t argc);
/* HELP of a container ("CLIENT HELP"), from the table. */
void resp_command_help(struct fb_buf *out, const struct resp_command *container);

/* All commands as a markdown document, one table for each group. */
void resp_commands_markdown(struct fb_buf *out);

#endif
