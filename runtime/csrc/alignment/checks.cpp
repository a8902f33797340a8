#include "alignment/checks.h"

#include <iomanip>
#include <locale>
#include <sstream>

#include "alignment/appearance.h"

namespace vm::alignment {

namespace {

// The figures behind these numbers stand in checks.py.
constexpr double wrong_correlation = 0.93;
constexpr double smallest_scale = 0.4, largest_scale = 2.5;
constexpr double least_overlap = 0.7;
constexpr double most_outside = 0.5;

constexpr const char *mismatch = "skull-strip-mismatch";

// With this many digits behind the point, whatever the program's locale says.
std::string number(double value, int digits) {
    std::ostringstream text;
    text.imbue(std::locale::classic());
    text << std::fixed << std::setprecision(digits) << value;
    return text.str();
}

// "moving", "fixed", or "moving and the fixed"; "" for neither.
std::string names(bool moving, bool fixed) {
    if (moving && fixed) return "moving and the fixed";
    return moving ? "moving" : fixed ? "fixed" : "";
}

}  // namespace

std::vector<Finding> looks_of_scans(const Pyramid &moving, const Pyramid &fixed) {
    std::vector<Finding> found;
    const std::string cut = names(touches_edge(moving), touches_edge(fixed));
    if (!cut.empty())
        found.emplace_back("foreground-at-edge",
                           "the foreground of the " + cut +
                               " scan touches the edge of the field of view; what is cut off "
                               "cannot be aligned");
    const bool moving_head = looks_like_head(moving), fixed_head = looks_like_head(fixed);
    if (moving_head != fixed_head)
        found.emplace_back(mismatch, "the " + names(moving_head, fixed_head) +
                                         " scan looks like a whole head, the other one "
                                         "skull-stripped; skull-strip both");
    else if (moving_head)
        found.emplace_back("not-skull-stripped",
                           "both scans look like whole heads; brain models expect skull-stripped "
                           "scans");
    return found;
}

std::vector<Finding> warnings_about(const Alignment &found) {
    if (found.correlation >= doubtful_correlation) return {};
    return {{"affine-low-correlation",
             "after the affine alignment the scans correlate with " +
                 number(found.correlation, 3) + ", right alignments of brains reach " +
                 number(doubtful_correlation, 3) +
                 "; look at the result, or search all rotations (full_search)"}};
}

std::string reason_against(const Alignment &found, const std::vector<Finding> &looks) {
    std::string reasons;
    const auto add = [&reasons](const std::string &reason) {
        reasons += (reasons.empty() ? "" : "; ") + reason;
    };
    if (!(found.correlation >= wrong_correlation))
        add("the scans correlate with " + number(found.correlation, 3) + ", at least " +
            number(wrong_correlation, 2) + " is expected");
    if (!(found.foreground_overlap >= least_overlap))
        add("the foregrounds overlap with a Dice of " + number(found.foreground_overlap, 2) +
            ", at least " + number(least_overlap, 1) + " is expected");
    if (!(found.fixed_outside <= most_outside))
        add(number(100 * found.fixed_outside, 0) +
            "% of the fixed foreground lies outside the moving scan");
    const double largest = found.shape.scale[0], smallest = found.shape.scale[2];
    if (!(smallest >= smallest_scale && largest <= largest_scale))
        add("it scales by " + number(smallest, 2) + " to " + number(largest, 2) + ", " +
            number(smallest_scale, 1) + " to " + number(largest_scale, 1) + " are expected");
    if (reasons.empty()) return "";
    for (const Finding &look : looks)
        if (look.first == mismatch) add(look.second);
    return reasons;
}

}  // namespace vm::alignment
