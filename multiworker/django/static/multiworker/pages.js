// Keeps a page of multiworker fresh, where a browser lets it: without it, each page has a link that reloads it.
(() => {
  "use strict";

  const live = document.getElementById("mw-live");
  const every = 1000 * Number(live?.dataset.every || 0);
  let answering = false;
  let pressed = false;

  const note = (text) => {
    const place = document.getElementById("mw-note");
    if (place) place.textContent = text;
  };

  // What somebody is about to use must not change under the hand.
  const inUse = () => {
    const selection = document.getSelection();
    const selects = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
    const active = document.activeElement;
    const types = live.contains(active) && active.matches("input:not([type=checkbox]), select, textarea");
    return pressed || selects || types || live.querySelector("input[name=entry]:checked") !== null;
  };

  const swap = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const scrolled = [...live.querySelectorAll(".mw-scroll, .mw-pre")].map((part) => [part.scrollLeft, part.scrollTop]);
    const nth = [...live.querySelectorAll("a, button, input, [tabindex]")].indexOf(document.activeElement);
    live.replaceChildren(...fresh.body.childNodes);
    live.querySelectorAll(".mw-scroll, .mw-pre").forEach((part, index) => {
      [part.scrollLeft, part.scrollTop] = scrolled[index] ?? [0, 0];
    });
    live.querySelectorAll("a, button, input, [tabindex]")[nth]?.focus({ preventScroll: true });
    prepare();
  };

  const refresh = async () => {
    if (document.hidden || answering) return;
    if (inUse()) {
      if (!pressed) note("Paused while you select");
      return;
    }
    answering = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Multiworker-Part": "1" }, cache: "no-store" });
      if (answer.redirected || answer.headers.get("X-Multiworker-Part") !== "1") {
        note("This page is no longer yours to see: reload it");
        clearInterval(timer);
      } else {
        const html = await answer.text();
        if (!inUse()) swap(html);
      }
    } catch {
      note("The server does not answer; trying again");
    } finally {
      answering = false;
    }
  };

  const prepare = () => {
    const all = document.getElementById("mw-every");
    if (!all) return;
    all.hidden = false;
    all.addEventListener("change", () => {
      for (const box of live.querySelectorAll("input[name=entry]")) box.checked = all.checked;
    });
  };

  prepare();
  document.addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel", "dragend"]) {
    document.addEventListener(end, () => { setTimeout(() => { pressed = false; }); });
  }
  // What takes longer than one request goes on by itself.
  document.querySelector("form[data-go-on]")?.requestSubmit();
  const timer = every ? setInterval(refresh, every) : 0;
  if (every) document.addEventListener("visibilitychange", refresh);
})();
