/* completion and version. */
#include "proto/base/build.h"
#include "tools/ctl/ctl.h"

#include <stdio.h>

/* Of every live process, when a cluster is named. */
static json_t *processes(struct ctl *c)
{
    json_t *list = json_array();
    const struct fb_map *map = c->cluster->map;

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct fb_member_info *m = &map->members[i];
        json_t *reply = NULL, *row;
        struct fb_err err = {0};
        if (!m->alive)
            continue;
        row = json_pack("{s:s}", "name", m->name);
        if (ctl_http_json(c, m, "/statusz", &reply, &err) == FB_OK) {
            json_object_set(row, "program", json_object_get(reply, "process"));
            json_object_set(row, "version", json_object_get(reply, "version"));
            json_object_set(row, "build", json_object_get(reply, "build"));
            json_decref(reply);
        } else {
            json_object_set_new(row, "problem", json_string(err.msg));
        }
        json_array_append_new(list, row);
    }
    return list;
}

int ctl_version(struct ctl *c)
{
    json_t *o =
        json_pack("{s:s, s:s}", "forebayctl", fb_build_version(), "build", fb_build_flavor());
    int rc = CTL_OK;

    if (c->cluster_url != NULL && c->cluster_url[0] != '\0') {
        rc = ctl_open(c);
        if (rc == CTL_OK)
            json_object_set_new(o, "processes", processes(c));
    }
    ctl_print_object(c, o);
    json_decref(o);
    return rc;
}

static void put_flags(const char *names)
{
    for (size_t i = 0; i < ctl_flag_count; i++)
        if (ctl_flags[i].global)
            printf("%s ", ctl_flags[i].name);
    fputs(names, stdout);
}

/* bash gives the words so far; flags and the values of flags are stepped over to find the command.
 */
int ctl_completion(struct ctl *c)
{
    const char *last = "";

    if (strcmp(c->args[0], "bash") != 0)
        return ctl_fail(CTL_USAGE, "%s: only bash is known", c->args[0]);
    printf("_forebayctl() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words i\n"
           "    local -a cmd=()\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do case ${COMP_WORDS[i]} in\n        ");
    for (size_t i = 0, n = 0; i < ctl_flag_count; i++) {
        if (ctl_flags[i].value == NULL)
            continue;
        printf("%s%s", n++ ? "|" : "", ctl_flags[i].name);
        if (ctl_flags[i].alias != NULL)
            printf("|%s", ctl_flags[i].alias);
    }
    printf(
        ") ((i++)) ;;\n        -*) ;;\n        *) cmd+=(\"${COMP_WORDS[i]}\") ;;\n"
        "    esac; done\n"
        "    case $prev in\n"
        "        -o|--output) COMPREPLY=($(compgen -W 'table wide json jsonl name' -- \"$cur\")); "
        "return ;;\n        ");
    for (size_t i = 0, n = 0; i < ctl_flag_count; i++) {
        if (ctl_flags[i].value == NULL || strcmp(ctl_flags[i].name, "--output") == 0)
            continue;
        printf("%s%s", n++ ? "|" : "", ctl_flags[i].name);
        if (ctl_flags[i].alias != NULL)
            printf("|%s", ctl_flags[i].alias);
    }
    printf(") return ;;\n    esac\n    case \"${cmd[*]:0:2}\" in\n");
    for (size_t i = 0; i < ctl_verb_count; i++) {
        const struct ctl_verb *v = &ctl_verbs[i];
        printf("        \"%s%s%s\"%s) words='", v->noun, v->name[0] ? " " : "", v->name,
               v->name[0] ? "" : "*");
        put_flags(v->flags);
        printf("' ;;\n");
    }
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
    printf("        '') words='");
    for (size_t i = 0; i < ctl_verb_count; i++) {
        if (strcmp(ctl_verbs[i].noun, last) != 0)
            printf("%s ", ctl_verbs[i].noun);
        last = ctl_verbs[i].noun;
    }
    put_flags("");
    printf("' ;;\n    esac\n"
           "    [[ $cur == -* || -z ${words##*--help*} && ${#cmd[@]} = 0 ]] || "
           "words=$(printf '%%s\\n' $words | grep -v ^-)\n"
           "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
           "}\ncomplete -o default -F _forebayctl forebayctl\n");
    return CTL_OK;
}
