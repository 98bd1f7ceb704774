"use strict";
// Pointing at a claim lights its evidence, and the other way round; without this the links still lead there.
for (const clip of document.querySelectorAll(".clip")) {
  const claims = [...clip.querySelectorAll(".claim[data-evidence]")];
  const light = (on, ids, own) => {
    for (const id of ids) document.getElementById(id).classList.toggle("lit", on);
    for (const claim of own) claim.classList.toggle("lit", on);
  };
  const watch = (element, ids, own) => {
    for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]])
      element.addEventListener(name, () => light(on, ids, own));
  };
  for (const claim of claims) watch(claim, claim.dataset.evidence.split(" ").filter(Boolean), [claim]);
  for (const item of clip.querySelectorAll(".evidence li"))
    watch(item, [item.id], claims.filter((claim) => claim.dataset.evidence.split(" ").includes(item.id)));
}
