/* Order of a batch's statements among namespaces (PROTOCOL 11, foreign keys): first all deletes,
 * children before parents, then everything else, parents before children. Tables that refer to each
 * other in a circle keep the order of their names. */
#include "sync/pg/apply.h"

#include <stdlib.h>

static const char *schema_name(const struct fb_namespace *ns)
{
    return ns->table_schema[0] == '\0' ? "public" : ns->table_schema;
}

/* Does `child` refer to the table of `parent`? A table that refers to itself has no say. */
static bool refers(const struct pg_feed *child, const struct pg_feed *parent)
{
    if (child->schema == NULL || !parent->ns->mapped || child->ns == parent->ns)
        return false;
    for (uint32_t i = 0; i < child->schema->parent_count; i++)
        if (strcmp(child->schema->parents[i].table, parent->ns->table_name) == 0 &&
            strcmp(child->schema->parents[i].schema, schema_name(parent->ns)) == 0)
            return true;
    return false;
}

/* The first op of each namespace, in ops' order; returns how many. */
static size_t heads_of(const struct pg_plan *plan, size_t *heads)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->op_count; i++)
        if (i == 0 || plan->ops[i].feed->ns != plan->ops[i - 1].feed->ns)
            heads[n++] = i;
    return n;
}

static bool deletes(const struct pg_op *op)
{
    return op->kind == PG_OP_OBJECT_DELETE || op->kind == PG_OP_ROW_DELETE ||
           op->kind == PG_OP_ROW_NULL;
}

static int op_compare(const void *a, const void *b)
{
    const struct pg_op *x = a, *y = b;
    bool xd = deletes(x), yd = deletes(y);
    if (xd != yd)
        return xd ? -1 : 1;
    if (x->depth != y->depth)
        return (x->depth < y->depth) == xd ? 1 : -1;
    return (x->number > y->number) - (x->number < y->number);
}

void pg_plan_order(struct pg_plan *plan)
{
    size_t *heads = fb_xcalloc(plan->op_count + 1, sizeof(*heads));
    size_t n = heads_of(plan, heads);
    bool moved = n > 1, any = false;

    /* A table stands below the deepest of its parents. In a circle depths would grow for ever: they
     * are settled after n rounds or never. */
    for (size_t round = 0; round < n && moved; round++) {
        moved = false;
        for (size_t c = 0; c < n; c++)
            for (size_t p = 0; p < n; p++) {
                struct pg_op *child = &plan->ops[heads[c]];
                const struct pg_op *parent = &plan->ops[heads[p]];
                if (child->depth <= parent->depth && refers(child->feed, parent->feed)) {
                    child->depth = parent->depth + 1;
                    moved = any = true;
                }
            }
    }
    for (size_t i = 0, h = 0; any && i < plan->op_count; i++) {
        if (h + 1 < n && i == heads[h + 1])
            h++;
        plan->ops[i].depth = plan->ops[heads[h]].depth;
        plan->ops[i].number = (uint32_t)i;
    }
    if (any)
        qsort(plan->ops, plan->op_count, sizeof(*plan->ops), op_compare);
    free(heads);
}
