{
  let playing = null;
  for (const button of document.querySelectorAll("button[data-sound]")) {
    button.addEventListener("click", () => {
      if (playing) playing.pause();
      playing = new Audio(SOUNDS[button.dataset.sound]);
      playing.play();
    });
  }
}
