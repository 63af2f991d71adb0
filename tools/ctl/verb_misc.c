/* completion and version. */
#include "proto/base/build.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>

int ctl_version(struct ctl *c)
{
    json_t *o =
        json_pack("{s:s, s:s}", "forebayctl", fb_build_version(), "build", fb_build_flavor());
    ctl_print_object(c, o);
    json_decref(o);
    return CTL_OK;
}

/* bash asks: words so far; the table answers. */
int ctl_completion(struct ctl *c)
{
    const char *last = "";
    if (strcmp(c->args[0], "bash") != 0)
        return ctl_fail(CTL_USAGE, "%s: only bash is known", c->args[0]);
    printf("_forebayctl() {\n    local cur=${COMP_WORDS[COMP_CWORD]} noun=${COMP_WORDS[1]} words\n"
           "    if [[ $cur == -* ]]; then words='");
    for (size_t i = 0; i < ctl_flag_count; i++)
        printf("%s%s", i ? " " : "", ctl_flags[i].name);
    printf("'\n    elif [ $COMP_CWORD = 1 ]; then words='");
    for (size_t i = 0; i < ctl_verb_count; i++) {
        if (strcmp(ctl_verbs[i].noun, last) != 0)
            printf("%s%s", i ? " " : "", ctl_verbs[i].noun);
        last = ctl_verbs[i].noun;
    }
    printf("'\n    elif [ $COMP_CWORD = 2 ]; then case $noun in\n");
    for (size_t i = 0; i < ctl_verb_count;) {
        const char *noun = ctl_verbs[i].noun;
        bool any = ctl_verbs[i].name[0] != '\0';
        if (any)
            printf("        %s) words='", noun);
        for (; i < ctl_verb_count && strcmp(ctl_verbs[i].noun, noun) == 0; i++)
            if (any)
                printf("%s ", ctl_verbs[i].name);
        if (any)
            printf("' ;;\n");
    }
    printf("        esac\n    fi\n    COMPREPLY=($(compgen -W \"$words\" -- "
           "\"$cur\"))\n}\ncomplete -o default -F "
           "_forebayctl forebayctl\n");
    return CTL_OK;
}
