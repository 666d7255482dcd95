// Renews the list of mails every two seconds. The page works without it; it knows nothing of what a mail holds.
"use strict";

const REFRESH_MILLISECONDS = 2000;
const list = document.getElementById("list");
const news = document.getElementById("news");

async function renew() {
  if (document.hidden) return;
  const answer = await fetch(list.dataset.source);
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("mails");
  const shown = document.getElementById("mails");
  if (!fresh || fresh.innerHTML === shown.innerHTML) return;
  const wasEmpty = shown.dataset.count === "0";
  const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  shown.replaceWith(fresh);
  if (focused) {
    [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
  }
  news.textContent = "The list of mails has changed.";
  // What the page says beside an empty list is out of date with the first mail.
  if (wasEmpty && !document.body.classList.contains("reading")) location.reload();
}

async function renewForever() {
  // A service that restarts is asked again; only the next answer matters.
  await renew().catch(() => undefined);
  setTimeout(renewForever, REFRESH_MILLISECONDS);
}

setTimeout(renewForever, REFRESH_MILLISECONDS);
