// Feeds bodies to the way from a signed message to the inbox: the JSON guard, reading the event,
// routing it. Whatever the bytes, it must end in one of the three dispositions with the bytes kept,
// and a routed event must be fit for keys, paths and headers. The first byte of the input chooses
// whose key the server has.
#include <algorithm>
#include <cctype>

#include "engine/json_guard.h"
#include "steps/purchase.h"
#include "steps/stripe_client.h"
#include "steps/stripe_event.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace steplog;
using namespace steplog::steps;
using fuzz::hold;
using Disposition = NewEvent::Disposition;

bool is_id(const std::string& text) {
    return !text.empty() && text.size() <= 255 &&
           std::all_of(text.begin(), text.end(),
                       [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
}

int depth_of(const Json& value) {
    if (!value.is_structured()) return 0;
    int deepest = 0;
    for (const Json& member : value) deepest = std::max(deepest, depth_of(member));
    return deepest + 1;
}

void check_document(std::string_view body) {
    std::string why_not;
    const auto document = parse_guarded(body, why_not);
    hold(document.has_value() == why_not.empty());
    if (!document) return;
    hold(depth_of(*document) <= static_cast<int>(json_depth_max));
    // What the guard let pass is written and read again without loss.
    const auto again = parse_guarded(document->dump(), why_not);
    hold(again && *again == *document);
}

void check_routed(const Intake& taken) {
    hold(taken.note.empty() && taken.event.reason.empty());
    hold(is_id(taken.event.id) && is_id(taken.event.subject));
    const NewInstance& instance = *taken.instance;
    hold(instance.id == "provision_customer/" + taken.event.id);
    hold(instance.workflow == "provision_customer" && !instance.input);
    hold(instance.key.starts_with("stripe:true:") || instance.key.starts_with("stripe:false:"));
    hold(instance.key.ends_with(":" + taken.event.subject));
    std::string why_not;
    const auto event = read_event(*parse_guarded(taken.event.body, why_not), why_not);
    hold(event && event->kind != EventKind::none && event->livemode);
    if (event->thin) {
        hold(event->related_path.empty() || is_safe_stripe_path(event->related_path));
        return;
    }
    // What the workflow makes of it: as strict, and the same after a trip through the step log.
    const Purchase purchase =
        purchase_of(event->kind, event->object, *event->livemode, event->account);
    for (const auto* id :
         {&purchase.customer, &purchase.session, &purchase.subscription, &purchase.invoice})
        hold(id->empty() || is_id(*id));
    hold(purchase.email.find_first_of("\r\n\t \"<>") == std::string::npos);
    hold(purchase.email.empty() || purchase.email.find('@') != std::string::npos);
    const Json stored = purchase;
    hold(Json(stored.get<Purchase>()) == stored);
    hold(is_id(buyer_of(purchase)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view body = fuzz::view_of(data, size);
    RoutingPolicy policy;
    const unsigned choice = fuzz::take_byte(body) % 3;
    if (choice > 0) policy.livemode = choice == 2;

    check_document(body);
    const Intake taken = intake(body, policy);
    hold(taken.event.source == "stripe" && taken.event.body == body);
    hold(taken.instance.has_value() == (taken.event.disposition == Disposition::routed));
    hold(is_id(taken.event.id) || taken.event.id.size() == 7 + 64);
    hold(taken.event.type.size() <= 255 && taken.event.subject.size() <= 255);
    switch (taken.event.disposition) {
        case Disposition::routed:
            check_routed(taken);
            break;
        case Disposition::ignored:
            hold(taken.note == "ignored" && !taken.event.reason.empty() && is_id(taken.event.id));
            break;
        case Disposition::quarantined:
            hold(taken.note == "quarantined" && !taken.event.reason.empty());
            break;
    }
    // The same bytes are the same event, wherever they are read.
    const Intake again = intake(std::string(body), policy);
    hold(again.event.id == taken.event.id && again.note == taken.note);
    return 0;
}
