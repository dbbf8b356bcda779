// Every page works without this. It keeps pages up to date while somebody looks, and lets keys do what the mouse does.
"use strict";
(() => {
  const live = document.getElementById("live");
  const asOf = document.getElementById("as-of");
  let stream = null;

  function late() {
    if (asOf) asOf.parentElement.classList.add("late");
  }

  function show(event) {
    const fragment = JSON.parse(event.data);
    // What somebody has marked stays where it is until it is let go.
    const marked = document.getSelection();
    if (marked && !marked.isCollapsed && live.contains(marked.anchorNode)) return;
    const at = rows().findIndex((row) => row.classList.contains("at"));
    live.innerHTML = fragment.html;
    document.title = document.title.replace(/^.*?(?= · Turnstile)/, () => fragment.title);
    if (at >= 0) choose(at, false);
    if (asOf) {
      asOf.dateTime = fragment.at;
      asOf.textContent = fragment.as_of;
      asOf.parentElement.classList.remove("late");
    }
  }

  function follow() {
    if (stream || document.hidden || !live || !live.dataset.feed) return;
    stream = new EventSource("/events?page=" + encodeURIComponent(live.dataset.feed));
    stream.addEventListener("fragment", show);
    stream.addEventListener("late", late);
    stream.addEventListener("over", () => location.reload());
    stream.addEventListener("error", late);
  }

  function stop() {
    if (stream) stream.close();
    stream = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : follow()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", follow);

  function rows() {
    return [...document.querySelectorAll("table.keyed tbody tr")];
  }

  function choose(at, moves) {
    const all = rows();
    if (!all.length) return;
    const next = Math.min(Math.max(at, 0), all.length - 1);
    all.forEach((row, n) => row.classList.toggle("at", n === next));
    if (moves) all[next].scrollIntoView({ block: "nearest" });
  }

  let goes = false;
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea, dialog")) return;
    const at = rows().findIndex((row) => row.classList.contains("at"));
    const place = goes && document.querySelector(`nav [data-key="${CSS.escape(event.key)}"]`);
    goes = false;
    if (place) place.click();
    else if (event.key === "g") goes = true;
    else if (event.key === "j") choose(at + 1, true);
    else if (event.key === "k") choose(at < 0 ? 0 : at - 1, true);
    else if (event.key === "Enter" && at >= 0 && target === document.body) rows()[at].querySelector("a")?.click();
    else if (event.key === "/") document.querySelector(".filters input, .filters select")?.focus();
    else if (event.key === "?") document.getElementById("keys")?.showModal();
    else return;
    event.preventDefault();
  });

  const hint = document.querySelector("footer .keys");
  if (hint) hint.hidden = false;
  // A form is sent once, however often it is clicked; the server holds to that, too.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (button && event.target.method === "post") setTimeout(() => (button.disabled = true));
  });

  // A body is judged whenever somebody stops typing; the last answer counts.
  for (const area of document.querySelectorAll("textarea[data-judge]")) {
    const verdict = document.getElementById(area.getAttribute("aria-describedby"));
    let waits = 0;
    let asked = 0;
    const judge = async (number) => {
      const request = { method: "POST", redirect: "manual", headers: { "Turnstile-Fragment": "1" } };
      const body = new URLSearchParams({ body: area.value });
      const answer = await fetch(area.dataset.judge, { ...request, body }).catch(() => null);
      const words = answer && answer.ok ? await answer.text() : "It could not be judged: is it too large?";
      if (number === asked) verdict.innerHTML = words;
    };
    area.addEventListener("input", () => {
      clearTimeout(waits);
      asked += 1;
      const number = asked;
      if (area.value.trim()) waits = setTimeout(() => judge(number), 400);
      else verdict.textContent = "";
    });
  }
})();
