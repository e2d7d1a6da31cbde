// An arm behind a microcontroller (firmware_bridge/firmware), which holds the last word about what moves: the
// computer's end of docs/bridge-protocol.md.
//
// The microcontroller sends a state every tick, and a cycle answers the newest one with a command. Nothing is sent that
// answers no state, and nothing once the arm has stopped: an adapter that keeps frames has none to send later. What the
// microcontroller has stopped stays stopped until engage(), and its positions are not believed meanwhile, so that the
// loop's own rules follow (hold, then fault).
#pragma once

#include "arm_link.hpp"
#include "bridge_line.hpp"
#include "bridge_table.hpp"
#include "bridge_words.hpp"

namespace edgearm {

class BridgeArm final : public ArmLink {
public:
    // How old a state may be by the time that its command arrives. How long a command then lives is the firmware's to
    // say: no longer than its 20 ms of silence allow.
    static constexpr std::uint16_t kExpiryMs = 20;
    static constexpr std::int64_t kLongestCycleNs = 10'000'000;
    // Ticks in which the firmware has either switched torque on or given up: 25 each for pose, goals and torque, and
    // one to say so.
    static constexpr std::uint32_t kArmingTicks = 3 * 26;
    // The same for switching it off.
    static constexpr std::uint32_t kReleasingTicks = 28;

    // The microcontroller speaks this protocol and has the table of this arm. Opens a session, which stops an arm that
    // another session has armed.
    BridgeArm(const Arm& arm, const std::string& port, LinkStats& stats);
    BridgeArm(const Arm& arm, BridgePort port, LinkStats& stats);
    // Tells an arm that is armed to stop: it holds, at rest.
    ~BridgeArm() override;
    BridgeArm(const BridgeArm&) = delete;
    BridgeArm& operator=(const BridgeArm&) = delete;

    static CycleCost cost(const Arm& arm);

    const std::string& path() const override { return line_.port().line->path(); }
    const std::string& stable_path() const override { return line_.port().stable_path; }

    Joints measure() override;
    // A new session, and a clear of what is latched now: this call is the explicit act. When it throws, what the
    // microcontroller has switched on by then holds its pose.
    Joints engage() override;
    bool held_before() const override { return true; }  // no state says
    // Stops the arm, waits until it rests and switches torque off. False when the microcontroller gave that up. Throws
    // Error when nobody can tell.
    bool release() override;
    Io cycle(const Goals* goals, std::int64_t deadline_ns, std::optional<Joints>& measured) noexcept override;

private:
    using Targets = std::array<bridge_target, kJoints>;

    // Set-up: waits, and throws Error (bridge_arm_setup.cpp).
    void greet();
    void refuse(const bridge_hello& reply) const;
    void next_state();
    void come_to_rest();
    void order(bridge_kind kind, std::uint16_t latch, const char* what);
    void hold_until_on();
    void require_ours() const;
    void require_armed() const;
    bool ticks_since(std::uint32_t begin_us, std::uint32_t ticks) const noexcept;
    [[noreturn]] void line_gone() const;
    [[noreturn]] void silent() const;
    [[noreturn]] void unwilling(const std::string& what, const std::string& expected, const std::string& got) const;

    bool repeated(const bridge_state& state) const noexcept;
    // True when it is a newer state.
    bool take(const bridge_message& message) noexcept;
    void note_positions() noexcept;
    void publish(bool silent) noexcept;
    bool ours() const noexcept { return session_ != 0 && state_.session == session_; }
    bool armed() const noexcept { return ours() && (state_.arm == BRIDGE_READY || state_.arm == BRIDGE_RUNNING); }
    bool aim(const Goals& goals) noexcept;
    void aim_at_pose() noexcept;
    Io send_command(std::int64_t deadline_ns) noexcept;
    bridge_order next_order() noexcept;
    // What there is, up to the first newer state and then without waiting; whether there was one.
    Io listen(std::int64_t deadline_ns, bool& newer) noexcept;

    const Arm& arm_;
    LinkStats& stats_;
    const arm_table table_;
    const std::uint32_t config_;
    BridgeLine line_;
    std::uint64_t noise_ = 0;
    bridge_hello reply_{};
    bool replied_ = false;
    bridge_state state_{};  // newest
    bool known_ = false;    // whether there is one
    std::uint32_t session_ = 0;
    std::uint32_t sequence_ = 0;
    Targets targets_{};
    Joints newest_{};
    std::array<bool, kJoints> fresh_{};
    std::array<std::uint8_t, kJoints> missed_{};  // states in a row in which a joint was not measured
    bool engaged_ = false;
    std::int64_t hold_until_ns_ = 0;  // the pose, while the loop gives no goals yet
    bool heard_ = false;              // a state in the last cycle
};

// LinkStats::errors of this arm.
std::string describe_joint_error(std::uint8_t error);

}  // namespace edgearm
