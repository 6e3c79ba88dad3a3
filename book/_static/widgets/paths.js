// Tells RequireJS that anywidget's front end lies beside this script.
require.config({ paths: { anywidget: new URL("anywidget", document.currentScript.src).href } });
