// Modules of Node.js that Element names and does not use in a browser.
export default {};
