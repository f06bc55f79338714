export default { base: "./", optimizeDeps: { exclude: ["minke"] } };
