/* Reports of nodes as the coordinator hands them over. The first byte says how many partitions the
 * cluster has.
 *
 * Besides sanitizers and assertions: an error has a reason; there is one text for each report, so
 * what is taken is written as the same bytes; partitions are the cluster's, in order.
 */
#include "node/control/report.h"
#include "tests/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct control_report reports[256];
    struct fuzz_in in = {data, n};
    uint32_t partitions = 1 + fuzz_u8(&in) % 255u, count;
    struct fb_bytes text = fb_bytes(in.p, in.n);
    struct fb_buf again = {0};
    struct fb_err err = {0};

    if (control_report_decode(text, "n1", partitions, reports, &count, &err) != FB_OK) {
        fb_assert(count == 0 && err.msg[0] != 0);
        return 0;
    }
    for (uint32_t i = 0; i < count; i++)
        fb_assert(reports[i].part < partitions &&
                  (i == 0 || reports[i - 1].part < reports[i].part));
    if (count > 0) {
        control_report_encode(&again, reports[0].member.inc, reports, count);
        fb_assert(fb_bytes_equal(text, fb_buf_view(&again)));
    }
    fb_buf_fini(&again);
    return 0;
}
