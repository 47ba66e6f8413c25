"""Which generation is wanted, and which one to go back to."""

from multiworker.supervisor.reload import FAILED_BOOTS, PAUSE, TRIAL, Outcome, Reload
from multiworker.worker.settings import Settings

OLD, NEW, NEWER = Settings(concurrency=1), Settings(concurrency=2), Settings(concurrency=3)


def after_a_good_start() -> Reload:
    reload = Reload(OLD)
    assert reload.succeeded(2, 2)
    return reload


def fail(reload: Reload, times: int) -> list[bool]:
    """Let children of the wanted generation fail to boot."""
    number = reload.wanted.number
    return [reload.failed(number, "why", useful=False) for _ in range(times)]


def test_a_generation_is_good_when_all_its_children_are_ready_and_says_so_once() -> None:
    reload = Reload(OLD)
    assert not reload.succeeded(1, 2)
    assert not reload.good
    assert reload.succeeded(2, 2)
    assert reload.good is reload.wanted
    assert not reload.succeeded(2, 2)


def test_a_reload_is_due_when_it_is_asked_for() -> None:
    reload = after_a_good_start()
    assert not reload.due(100.0)
    reload.ask()
    assert reload.due(100.0)
    reload.begin(100.0, NEW)
    assert not reload.due(200.0)
    assert (reload.wanted.number, reload.wanted.settings) == (2, NEW)
    assert reload.good
    assert reload.good.number == 1


def test_reloads_that_come_soon_are_one_and_later() -> None:
    reload = after_a_good_start()
    reload.begin(100.0, NEW)
    reload.ask()
    assert not reload.due(100.0 + PAUSE / 2)
    assert reload.due(100.0 + PAUSE)


def test_settings_that_cannot_be_read_change_nothing() -> None:
    reload = after_a_good_start()
    reload.ask()
    reload.refuse(100.0, "no such option")
    assert (reload.wanted.number, reload.wanted.settings) == (1, OLD)
    assert not reload.due(200.0)


def test_a_generation_that_does_not_boot_is_abandoned_for_the_good_one() -> None:
    reload = after_a_good_start()
    reload.begin(100.0, NEW)
    assert fail(reload, FAILED_BOOTS) == [False] * (FAILED_BOOTS - 1) + [True]
    assert (reload.wanted.number, reload.wanted.settings) == (1, OLD)
    assert reload.wanted is reload.good


def test_an_abandoned_number_is_not_used_again_and_the_next_reload_starts_afresh() -> None:
    reload = after_a_good_start()
    reload.begin(100.0, NEW)
    fail(reload, FAILED_BOOTS)
    reload.begin(200.0, NEWER)
    assert reload.wanted.number == 3
    assert fail(reload, FAILED_BOOTS - 1) == [False] * (FAILED_BOOTS - 1)
    assert reload.succeeded(2, 2)
    assert reload.good
    assert reload.good.settings is NEWER


def test_children_of_other_generations_do_not_count() -> None:
    reload = after_a_good_start()
    reload.begin(100.0, NEW)
    assert not any(reload.failed(1, "why", useful=False) for _ in range(2 * FAILED_BOOTS))
    assert reload.wanted.number == 2


def test_a_good_generation_is_never_abandoned() -> None:
    reload = after_a_good_start()
    assert not any(fail(reload, 2 * FAILED_BOOTS))
    assert reload.wanted.number == 1


def test_before_the_first_good_one_there_is_none_to_go_back_to() -> None:
    reload = Reload(OLD)
    reload.begin(100.0, NEW)
    assert not any(fail(reload, 2 * FAILED_BOOTS))
    assert reload.wanted.number == 2


def test_a_request_is_answered_when_its_generation_is_complete() -> None:
    # given a reload that was asked for, and begun
    reload = after_a_good_start()
    number = reload.ask()
    assert (number, reload.decided, reload.outcome) == (1, 0, Outcome.NONE)
    reload.begin(100.0, NEW)
    assert reload.under_way
    # when another one is asked for meanwhile, and the first is complete
    later = reload.ask()
    assert reload.succeeded(2, 2)
    # then the first is answered, and the second is not
    assert (reload.loaded, reload.decided, reload.outcome) == (number, number, Outcome.LOADED)
    assert later > reload.decided
    assert not reload.under_way


def test_what_came_together_is_answered_together() -> None:
    reload = after_a_good_start()
    first, second = reload.ask(), reload.ask()
    reload.begin(100.0, NEW)
    reload.succeeded(2, 2)
    assert first < second == reload.loaded == reload.decided


def test_a_reload_that_overtakes_another_answers_both() -> None:
    reload = after_a_good_start()
    reload.ask()
    reload.begin(100.0, NEW)
    second = reload.ask()
    reload.begin(200.0, NEWER)
    assert reload.decided == 0
    reload.succeeded(2, 2)
    assert reload.loaded == reload.decided == second


def test_a_failure_says_why() -> None:
    reload = after_a_good_start()
    number = reload.ask()
    reload.begin(100.0, NEW)
    fail(reload, FAILED_BOOTS)
    assert (reload.loaded, reload.decided, reload.outcome, reload.failure) == (0, number, Outcome.ABANDONED, "why")
    number = reload.ask()
    reload.refuse(200.0, "not TOML")
    assert (reload.loaded, reload.decided, reload.outcome, reload.failure) == (0, number, Outcome.REFUSED, "not TOML")


def test_settings_that_are_refused_do_not_answer_for_a_reload_under_way() -> None:
    # given a reload under way
    reload = after_a_good_start()
    first = reload.ask()
    reload.begin(100.0, NEW)
    # when the settings of the next one are no good
    second = reload.ask()
    reload.refuse(200.0, "not TOML")
    # then nothing is decided yet, and then the one is loaded, the other one not
    assert reload.decided == 0
    reload.succeeded(2, 2)
    assert (reload.loaded, reload.decided) == (first, second)
    assert (reload.outcome, reload.failure) == (Outcome.REFUSED, "not TOML")


def test_the_first_start_is_no_reload() -> None:
    reload = after_a_good_start()
    assert (reload.loaded, reload.decided, reload.outcome) == (0, 0, Outcome.NONE)


def trial(reload: Reload, *seen: tuple[float, int]) -> bool:
    """Let it see so many ready children at such times, and return whether the generation is still on trial."""
    for now, ready in seen:
        reload.watch(now, ready)
    return reload.on_trial


def test_a_new_generation_is_on_trial_until_a_child_of_it_has_lived_for_a_while() -> None:
    reload = after_a_good_start()
    assert not trial(reload)
    reload.begin(100.0, NEW)
    assert trial(reload, (100.0, 0), (105.0, 1))
    # a death begins it anew
    assert trial(reload, (105.5, 0), (106.0, 1), (105.9 + TRIAL, 1))
    assert not trial(reload, (106.1 + TRIAL, 1))
    # and once is enough, for each generation
    assert not trial(reload, (200.0, 0))
    reload.begin(300.0, NEWER)
    assert trial(reload, (300.0, 0))


def test_the_first_start_has_no_trial() -> None:
    assert not Reload(OLD).on_trial


def test_deaths_after_boot_count_too_on_trial_even_of_children_that_did_something() -> None:
    reload = after_a_good_start()
    reload.begin(100.0, NEW)
    assert trial(reload, (100.0, 1))
    assert [reload.failed(2, "why", useful=True) for _ in range(FAILED_BOOTS)][-1]
    assert reload.wanted is reload.good
    # but not afterwards: those are killed from outside, or by a task
    reload.begin(200.0, NEWER)
    assert not trial(reload, (200.0, 1), (200.1 + TRIAL, 1))
    assert not any(reload.failed(3, "why", useful=True) for _ in range(2 * FAILED_BOOTS))
    assert any(reload.failed(3, "why", useful=False) for _ in range(FAILED_BOOTS))
