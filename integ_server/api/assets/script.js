// Asks how far a sign-in by QR code is, and follows what is answered. Without it the page asks by loading itself again.
"use strict";
for (const board of document.querySelectorAll("[data-poll]")) {
  const state = board.querySelector("[data-state]");
  const picture = board.querySelector("[data-picture]");
  const link = board.querySelector("[data-link]");
  let pauseMs = Number(board.dataset.everyMs);
  const ask = async () => {
    try {
      const answer = await fetch(board.dataset.poll, { headers: { Accept: "application/json" }, cache: "no-store" });
      const told = await answer.json();
      if (told.next) {
        location.assign(told.next);
        return;
      }
      if (told.text && state.textContent !== told.text) state.textContent = told.text;
      if (told.picture && picture.getAttribute("src") !== told.picture) picture.setAttribute("src", told.picture);
      if (told.address && link.getAttribute("href") !== told.address) link.setAttribute("href", told.address);
      if (told.every_ms) pauseMs = told.every_ms;
    } catch {
      // the backend may be starting anew, or the phone lost its network: the next try tells
    }
    setTimeout(ask, pauseMs);
  };
  setTimeout(ask, pauseMs);
}
