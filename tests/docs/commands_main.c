/* Prints the command table as markdown, for tools/lib/docs.py: deploy/docs/commands.md is made from
 * it. */
#include "router/resp/command.h"

#include <stdio.h>

int main(void)
{
    struct fb_buf out = {0};
    bool written;
    resp_commands_markdown(&out);
    written = fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    fb_buf_fini(&out);
    return written ? 0 : 1;
}
