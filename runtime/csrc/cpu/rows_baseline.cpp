// The inner loops in what every processor of the platform has.
#include "rows.h"

namespace vm {
namespace baseline {
#define LANES 4
#include "lanes.inl"
#include "lanes_portable.inl"
#include "locate.inl"
#include "rows.inl"
#include "near.inl"
#include "fields.inl"
}  // namespace baseline

const Rows rows_baseline = {
    "baseline",
    baseline::linear, baseline::nearby, baseline::nearest, baseline::vote,
    baseline::affine, baseline::multiply, baseline::displace, baseline::fade,
    baseline::reach, baseline::between, baseline::blend, baseline::expand,
    baseline::slope_along, baseline::slope_across, baseline::determinant, baseline::newton,
};

}  // namespace vm
