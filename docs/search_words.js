// To the search a dash before a word means "without it", and `--per-gpu` nothing at all. Of an option all words are
// looked for, as if in quotes.
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  if (message && message.type === 2 && typeof message.data === "string") {
    const option = (_, gap, words) => `${gap}"${words.replaceAll("-", " ").trim()}"`;
    message = { ...message, data: message.data.replace(/(^|\s)--+(\w[\w-]*)/g, option) };
  }
  return post.call(this, message, ...rest);
};
